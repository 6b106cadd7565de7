"""The verbs of webhooks: what changes whether they are delivered to."""

from __future__ import annotations

from collections.abc import Callable

from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_webhooks.api.messages import webhook_id_of, webhook_message
from brikk_webhooks.api.parts import Context, Methods
from brikk_webhooks.domain.webhook import Webhook
from brikk_webhooks.store import webhooks


class VerbMethods(Methods):
    """Each answers once its effect is recorded."""

    async def PauseWebhook(
        self, request: pb.PauseWebhookRequest, context: Context
    ) -> webhook_pb2.Webhook:
        """Keep its deliveries for later."""
        paused = await self._change(
            request.name, lambda webhook: webhook.paused(request.reason, self._parts.clock.now())
        )
        return webhook_message(paused)

    async def ResumeWebhook(
        self, request: pb.ResumeWebhookRequest, context: Context
    ) -> webhook_pb2.Webhook:
        """Deliver to it again."""
        resumed = await self._change(
            request.name, lambda webhook: webhook.resumed(self._parts.clock.now())
        )
        self._parts.wake()
        return webhook_message(resumed)

    async def DisableWebhook(
        self, request: pb.DisableWebhookRequest, context: Context
    ) -> webhook_pb2.Webhook:
        """Deliver nothing to it any more; what is left is cancelled in the background."""
        disabled = await self._change(
            request.name, lambda webhook: webhook.disabled(request.reason, self._parts.clock.now())
        )
        self._parts.disabled()
        return webhook_message(disabled)

    async def EnableWebhook(
        self, request: pb.EnableWebhookRequest, context: Context
    ) -> webhook_pb2.Webhook:
        """Deliver what is to come."""
        enabled = await self._change(
            request.name, lambda webhook: webhook.enabled(self._parts.clock.now())
        )
        self._parts.wake()
        return webhook_message(enabled)

    async def _change(self, name: str, change: Callable[[Webhook], Webhook]) -> Webhook:
        """Change a webhook while nobody else does."""
        async with self._parts.database.transaction() as connection:
            uid, webhook = await self._lock(connection, webhook_id_of(name), name=name)
            changed = change(webhook)
            if changed != webhook:
                await webhooks.change_webhook(connection, uid, changed)
        return changed
