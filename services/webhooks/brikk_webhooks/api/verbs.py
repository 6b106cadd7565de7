"""The verbs of webhooks: what changes whether they are delivered to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_shared.call import organization
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import not_found
from brikk_webhooks.api.deliveries import DeliveryMethods
from brikk_webhooks.api.messages import webhook_id_of, webhook_message
from brikk_webhooks.domain.webhook import Webhook
from brikk_webhooks.store import webhooks


class WebhookVerbs(DeliveryMethods):
    """Each answers once its effect is recorded."""

    def __init__(self, database: Database, *, clock: Clock, wake: Callable[[], None]) -> None:
        super().__init__(database)
        self._clock = clock
        self._wake = wake

    async def PauseWebhook(
        self, request: pb.PauseWebhookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> webhook_pb2.Webhook:
        """Keep its deliveries for later."""
        paused = await self._change(
            request.name, lambda webhook: webhook.paused(request.reason, self._clock.now())
        )
        return webhook_message(paused)

    async def ResumeWebhook(
        self, request: pb.ResumeWebhookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> webhook_pb2.Webhook:
        """Deliver to it again."""
        resumed = await self._change(
            request.name, lambda webhook: webhook.resumed(self._clock.now())
        )
        self._wake()
        return webhook_message(resumed)

    async def _change(self, name: str, change: Callable[[Webhook], Webhook]) -> Webhook:
        """Change a webhook while nobody else does."""
        async with self._database.transaction() as connection:
            locked = await webhooks.lock_webhook(connection, organization(), webhook_id_of(name))
            if locked is None:
                raise not_found(name)
            uid, webhook = locked
            changed = change(webhook)
            if changed != webhook:
                await webhooks.change_webhook(connection, uid, changed)
        return changed
