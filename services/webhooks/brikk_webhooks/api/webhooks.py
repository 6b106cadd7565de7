"""WebhookService: webhooks themselves; their deliveries are read in `deliveries`."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_shared.call import organization
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.egress import Egress
from brikk_shared.errors import invalid_field, not_found
from brikk_shared.ids import new_id
from brikk_shared.pagination import cut, page_of
from brikk_webhooks.api.deliveries import DeliveryMethods
from brikk_webhooks.api.messages import webhook_id_of, webhook_message
from brikk_webhooks.domain.dispatch import secret_place
from brikk_webhooks.domain.endpoint import host_of, url_problem
from brikk_webhooks.domain.sealing import KeyRing
from brikk_webhooks.domain.signing import format_secret, parse_secret
from brikk_webhooks.domain.webhook import Webhook
from brikk_webhooks.store import webhooks

_NEW_KEY_BYTES = 32
_FIRST_VERSION = 1


class WebhookServicer(DeliveryMethods):
    """Keeps webhooks. Secrets go in, and come out once."""

    def __init__(
        self, database: Database, *, egress: Egress, key_ring: KeyRing, quota: int, clock: Clock
    ) -> None:
        super().__init__(database)
        self._egress = egress
        self._key_ring = key_ring
        self._quota = quota
        self._clock = clock

    async def CreateWebhook(
        self, request: pb.CreateWebhookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> webhook_pb2.Webhook:
        """Create a webhook, or give the one that the same request created before."""
        key = _signing_key(request.webhook.secret)
        webhook = self._draft(request)
        place = secret_place(organization(), webhook.id, _FIRST_VERSION)
        registration = webhooks.Registration(
            uid=new_id(),
            webhook=webhook,
            secret=self._key_ring.seal(key, place),
            secret_version=_FIRST_VERSION,
            request_id=request.request_id,
            request_digest=hashlib.sha256(request.SerializeToString(deterministic=True)).digest(),
        )
        async with self._database.transaction() as connection:
            before = await webhooks.create_webhook(
                connection, organization(), registration, quota=self._quota
            )
        if before is not None:
            return webhook_message(before)
        return webhook_message(webhook, secret=format_secret(key))

    async def GetWebhook(
        self, request: pb.GetWebhookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> webhook_pb2.Webhook:
        """Return a webhook."""
        async with self._database.reading() as connection:
            webhook = await webhooks.get_webhook(
                connection, organization(), webhook_id_of(request.name)
            )
        if webhook is None:
            raise not_found(request.name)
        return webhook_message(webhook)

    async def ListWebhooks(
        self, request: pb.ListWebhooksRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListWebhooksResponse:
        """List webhooks by name."""
        page = page_of(request)
        async with self._database.reading() as connection:
            found = await webhooks.list_webhooks(
                connection, organization(), after=page.cursor, limit=page.size + 1
            )
        shown, token = cut(request, page, found, lambda webhook: webhook.id)
        return pb.ListWebhooksResponse(
            webhooks=[webhook_message(webhook) for webhook in shown],
            next_page_token=token,
        )

    async def DeleteWebhook(
        self, request: pb.DeleteWebhookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Empty:
        """Delete a webhook with all that was sent to it."""
        webhook_id = webhook_id_of(request.name)
        async with self._database.transaction() as connection:
            if not await webhooks.delete_webhook(connection, organization(), webhook_id):
                raise not_found(request.name)
        return Empty()

    def _draft(self, request: pb.CreateWebhookRequest) -> Webhook:
        problem = url_problem(request.webhook.url)
        if problem is not None:
            raise invalid_field("webhook.url", problem)
        self._egress.check_literal(host_of(request.webhook.url), field="webhook.url")
        return Webhook(
            id=request.webhook_id or new_id(),
            url=request.webhook.url,
            event_types=tuple(request.webhook.event_types),
            description=request.webhook.description,
            retry_schedule=tuple(wait.ToTimedelta() for wait in request.webhook.retry_schedule),
            create_time=self._clock.now(),
        )


def _signing_key(secret: str) -> bytes:
    if not secret:
        return secrets.token_bytes(_NEW_KEY_BYTES)
    key = parse_secret(secret)
    if key is None:
        raise invalid_field("webhook.secret", "must be whsec_ and 24 to 64 bytes in base64")
    return key
