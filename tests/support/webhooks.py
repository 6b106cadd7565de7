"""The webhooks service in this process, and what its tests send to it and ask of it."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishItem, PublishRequest, PublishResponse
from brikk.event.v1.event_service_pb2_grpc import EventServiceStub
from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk.webhooks.v1.webhook_service_pb2_grpc import WebhookServiceStub
from brikk_shared.application import Running, running
from brikk_shared.crypto import KeyRing
from brikk_shared.database import Database
from brikk_shared.event import make_event
from brikk_shared.key_ring_file import KeyRingFile
from brikk_shared.testing import Tokens, bearer
from brikk_webhooks.app import build
from brikk_webhooks.settings import WebhooksSettings
from support.loopback import LOOPBACK

DEADLINE: Final = 30
GENERATION: Final = "3f0c9f4e-0000-4000-8000-000000000001"
AT_ONCE: Final = timedelta(milliseconds=1)
"""A wait between attempts that nobody notices."""


class Webhooks:
    """A client of a running webhooks service."""

    def __init__(self, channel: grpc.aio.Channel, tokens: Tokens) -> None:
        self.tokens = tokens
        self.generation = GENERATION
        self.events = EventServiceStub(channel)
        self.stub = WebhookServiceStub(channel)
        self._position = 0

    async def create(
        self,
        url: str,
        *event_types: str,
        organization: str = "acme",
        schedule: Sequence[timedelta] = (),
        secret: str = "",
        webhook_id: str = "",
        request_id: str = "",
        schemes: Sequence[webhook_pb2.Webhook.SignatureScheme.ValueType] = (),
        **fields: Any,
    ) -> webhook_pb2.Webhook:
        """Create a webhook, for all events unless told; `fields` are further ones of it."""
        webhook = webhook_pb2.Webhook(
            url=url,
            event_types=event_types or ["*"],
            secret=secret,
            signature_schemes=schemes,
            retry_schedule=[_duration(wait) for wait in schedule],
            **fields,
        )
        request = pb.CreateWebhookRequest(
            webhook_id=webhook_id, webhook=webhook, request_id=request_id
        )
        return await self.stub.CreateWebhook(
            request, metadata=self.user(organization), timeout=DEADLINE
        )

    async def rotate(
        self,
        name: str,
        *,
        overlap: timedelta | None = None,
        secret: str = "",
        request_id: str = "",
        organization: str = "acme",
    ) -> webhook_pb2.Webhook:
        """Replace the keys of a webhook."""
        request = pb.RotateWebhookSecretRequest(
            name=name,
            secret=secret,
            request_id=request_id,
            overlap=None if overlap is None else _duration(overlap),
        )
        return await self.stub.RotateWebhookSecret(
            request, metadata=self.user(organization), timeout=DEADLINE
        )

    async def get(self, name: str) -> webhook_pb2.Webhook:
        """Read a webhook."""
        request = pb.GetWebhookRequest(name=name)
        return await self.stub.GetWebhook(request, metadata=self.user("acme"), timeout=DEADLINE)

    async def update(
        self, name: str, *, mask: Sequence[str] = (), etag: str = "", **fields: Any
    ) -> webhook_pb2.Webhook:
        """Change fields of a webhook: those of the mask, or those that are given."""
        request = pb.UpdateWebhookRequest(
            name=name,
            webhook=webhook_pb2.Webhook(**fields),
            update_mask=FieldMask(paths=mask),
            etag=etag,
        )
        return await self.stub.UpdateWebhook(request, metadata=self.user("acme"), timeout=DEADLINE)

    async def ask(self, verb: str, name: str, **more: Any) -> Any:
        """Call the RPC of a verb."""
        request = getattr(pb, f"{verb}Request")(name=name, **more)
        call: Callable[..., Awaitable[Any]] = getattr(self.stub, verb)
        return await call(request, metadata=self.user("acme"), timeout=DEADLINE)

    async def webhooks(self) -> list[webhook_pb2.Webhook]:
        """List the webhooks, the first page."""
        request = pb.ListWebhooksRequest()
        response = await self.stub.ListWebhooks(
            request, metadata=self.user("acme"), timeout=DEADLINE
        )
        return [*response.webhooks]

    async def delete(self, webhook: webhook_pb2.Webhook) -> None:
        """Delete a webhook."""
        request = pb.DeleteWebhookRequest(name=webhook.name)
        await self.stub.DeleteWebhook(request, metadata=self.user("acme"), timeout=DEADLINE)

    async def publish(self, *events: Event) -> PublishResponse:
        """Send events as the next of one producer."""
        first = self._position + 1
        self._position += len(events)
        return await self.publish_at(*enumerate(events, start=first), generation=self.generation)

    async def publish_at(
        self, *items: tuple[int, Event], generation: str = GENERATION
    ) -> PublishResponse:
        """Send events at their positions, as the workflow service does."""
        request = PublishRequest(
            producer="workflow",
            generation=generation,
            items=[PublishItem(position=position, event=event) for position, event in items],
        )
        return await self.events.Publish(
            request, metadata=bearer(self.tokens.internal()), timeout=DEADLINE
        )

    async def deliveries(
        self, webhook: webhook_pb2.Webhook, *, organization: str = "acme"
    ) -> list[webhook_pb2.Delivery]:
        """List the deliveries of a webhook, newest first."""
        request = pb.ListDeliveriesRequest(parent=webhook.name, page_size=500)
        response = await self.stub.ListDeliveries(
            request, metadata=self.user(organization), timeout=DEADLINE
        )
        return list(response.deliveries)

    async def attempts(self, delivery: webhook_pb2.Delivery) -> list[webhook_pb2.Attempt]:
        """List the attempts of a delivery, oldest first."""
        request = pb.ListAttemptsRequest(parent=delivery.name)
        response = await self.stub.ListAttempts(
            request, metadata=self.user("acme"), timeout=DEADLINE
        )
        return list(response.attempts)

    async def until(
        self,
        webhook: webhook_pb2.Webhook,
        satisfied: Callable[[webhook_pb2.Delivery], bool],
        *,
        organization: str = "acme",
    ) -> list[webhook_pb2.Delivery]:
        """Ask for the deliveries of a webhook until each satisfies; give them."""
        while True:
            deliveries = await self.deliveries(webhook, organization=organization)
            if deliveries and all(map(satisfied, deliveries)):
                return deliveries

    async def ended(self, webhook: webhook_pb2.Webhook) -> list[webhook_pb2.Delivery]:
        """Ask for the deliveries of a webhook until all have ended; give them."""
        return await self.until(webhook, lambda each: each.HasField("end_time"))

    def user(self, organization: str) -> tuple[tuple[str, str], ...]:
        """Metadata of a user who may set up webhooks of an organisation."""
        return bearer(self.tokens.user(organization, "webhook.read", "webhook.write"))


def settings(database_url: str, folder: Path, tokens: Tokens, **overrides: Any) -> WebhooksSettings:
    """Settings of a service on free ports; `folder` takes its key ring."""
    ring = folder / "ring.json"
    if not ring.exists():
        write_ring(ring, KeyRing(primary="k1", keys={"k1": os.urandom(32)}))
    values: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "http_listen": "127.0.0.1:0",
        "issuers": tokens.issuers,
        "service_key": tokens.service_key,
        "database_url": database_url,
        "key_ring": ring,
        "egress_allowed": LOOPBACK,
        "poll_interval": timedelta(milliseconds=20),
    }
    return WebhooksSettings(**(values | overrides))


def write_ring(path: Path, ring: KeyRing) -> KeyRingFile:
    """Write a key ring as the file that a service reads."""
    keys = {name: base64.b64encode(key).decode() for name, key in ring.keys.items()}
    path.write_text(json.dumps({"primary": ring.primary, "keys": keys}))
    return KeyRingFile(path)


@asynccontextmanager
async def store(database_url: str) -> AsyncIterator[Database]:
    """The service's database; on SQLite only while the service does not run."""
    async with Database(database_url, migrations="brikk_webhooks.store.migrations") as database:
        yield database


@asynccontextmanager
async def webhooks(
    database_url: str, folder: Path, **overrides: Any
) -> AsyncIterator[tuple[Webhooks, Running]]:
    """Run the service; `folder` takes its keys, `overrides` are settings, or its `clock`."""
    tokens = Tokens(Path(tempfile.mkdtemp(dir=folder)))
    clock = overrides.pop("clock", None)
    given = settings(database_url, folder, tokens, **overrides)
    async with (
        running(given, build, clock=clock) as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        yield Webhooks(channel, tokens), service


def event(
    event_type: str = "brikk.execution.succeeded.v1",
    *,
    subject: str = "executions/x1",
    organization: str = "acme",
    sequence: int = 1,
    data: dict[str, object] | None = None,
) -> Event:
    """An event of the workflow service."""
    return make_event(
        source="brikk.workflow",
        type=event_type,
        subject=subject,
        organization=organization,
        sequence=sequence,
        time=datetime.now(UTC),
        data=data or {"workflow": "triage", "version": 1, "duration_ms": 12.5},
    )


def _duration(wait: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(wait)
    return duration
