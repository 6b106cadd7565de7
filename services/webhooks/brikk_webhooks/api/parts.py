"""What the methods of WebhookService work with, and the servicer that their files extend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.webhooks.v1.webhook_service_pb2_grpc import WebhookServiceServicer
from brikk_shared.call import organization
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.egress import Egress
from brikk_shared.errors import not_found
from brikk_shared.key_ring_file import KeyRingFile
from brikk_webhooks.clients.http import HttpPoster
from brikk_webhooks.domain.webhook import Webhook
from brikk_webhooks.store import webhooks
from brikk_webhooks.store.intake import Intake
from brikk_webhooks.store.replays import Replays
from brikk_webhooks.store.resending import Resending
from brikk_webhooks.store.signing_keys import SigningKeys

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The running parts of the service that answer its methods."""

    database: Database
    intake: Intake
    replays: Replays
    resending: Resending
    signing_keys: SigningKeys
    poster: HttpPoster
    """Asks endpoints for permission."""
    egress: Egress
    key_ring: KeyRingFile
    origin: str
    """As which endpoints are asked for permission."""
    quota: int
    """Most webhooks of an organisation."""
    clock: Clock
    wake: Callable[[], None]
    """Called when deliveries may have come due,"""
    begun: Callable[[], None]
    """when a replay was begun,"""
    disabled: Callable[[], None]
    """when a webhook was disabled,"""
    deleted: Callable[[], None]
    """and when one was deleted."""


class Methods(WebhookServiceServicer):
    """Some methods of the service; each file of this room adds those of one subject."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def _lock(
        self, connection: AsyncConnection, webhook_id: str, *, name: str
    ) -> tuple[str, Webhook]:
        """Return a webhook of the caller's organisation that nobody else changes, with its uid.

        Raises:
            NotFound: there is none; the error calls what was asked for by `name`.
        """
        locked = await webhooks.lock_webhook(connection, organization(), webhook_id)
        if locked is None:
            raise not_found(name)
        return locked
