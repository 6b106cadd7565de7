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
from brikk_webhooks.api.messages import webhook_id_of, webhook_message
from brikk_webhooks.api.replays import ReplayMethods
from brikk_webhooks.domain.webhook import Webhook
from brikk_webhooks.store import webhooks
from brikk_webhooks.store.intake import Intake
from brikk_webhooks.store.replays import Replays


class WebhookVerbs(ReplayMethods):
    """Each answers once its effect is recorded.

    Args:
        disabled: called when a webhook was disabled.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        replays: Replays,
        *,
        clock: Clock,
        wake: Callable[[], None],
        begun: Callable[[], None],
        disabled: Callable[[], None],
    ) -> None:
        super().__init__(database, intake, replays, clock=clock, wake=wake, begun=begun)
        self._disabled = disabled

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

    async def DisableWebhook(
        self, request: pb.DisableWebhookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> webhook_pb2.Webhook:
        """Deliver nothing to it any more; what is left is cancelled in the background."""
        disabled = await self._change(
            request.name, lambda webhook: webhook.disabled(request.reason, self._clock.now())
        )
        self._disabled()
        return webhook_message(disabled)

    async def EnableWebhook(
        self, request: pb.EnableWebhookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> webhook_pb2.Webhook:
        """Deliver what is to come."""
        enabled = await self._change(
            request.name, lambda webhook: webhook.enabled(self._clock.now())
        )
        self._wake()
        return webhook_message(enabled)

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
