"""WebhookService as a whole, and the methods that write and read webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from google.protobuf.empty_pb2 import Empty

from brikk.webhooks.v1 import insight_pb2, webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_shared.call import organization
from brikk_shared.errors import Aborted, Reason, not_found
from brikk_shared.ids import new_id
from brikk_shared.pagination import cut, page_of
from brikk_shared.types import to_json
from brikk_webhooks.api.deliveries import DeliveryMethods
from brikk_webhooks.api.keys import KeyMethods, given_secret, shown_secret
from brikk_webhooks.api.messages import (
    request_digest,
    schemes_asked,
    webhook_id_of,
    webhook_message,
)
from brikk_webhooks.api.parts import Context
from brikk_webhooks.api.replays import ReplayMethods
from brikk_webhooks.api.sending import SendingMethods
from brikk_webhooks.api.subscribing import changes_headers, read_changed, read_new
from brikk_webhooks.api.verbs import VerbMethods
from brikk_webhooks.domain.catalog import EVENT_TYPES
from brikk_webhooks.domain.dispatch import headers_place
from brikk_webhooks.domain.handshake import agreed_rate, question
from brikk_webhooks.domain.webhook import Subscription, Webhook
from brikk_webhooks.store import webhooks


class WebhookServicer(KeyMethods, VerbMethods, SendingMethods, ReplayMethods, DeliveryMethods):
    """All methods; here, those that keep webhooks. Headers go in, and never come out."""

    async def CreateWebhook(
        self, request: pb.CreateWebhookRequest, context: Context
    ) -> webhook_pb2.Webhook:
        """Create a webhook, or give the one that the same request created before."""
        schemes = schemes_asked(request.webhook)
        secret = given_secret(request.webhook.secret, schemes, field="webhook.secret")
        subscription = await self._agree(read_new(request.webhook, self._parts.egress), None)
        webhook_id = request.webhook_id or new_id()
        keys = self._make_keys(webhook_id, schemes, secret, first=1)
        now = self._parts.clock.now()
        webhook = Webhook(
            id=webhook_id,
            subscription=subscription,
            create_time=now,
            update_time=now,
            signing_keys=tuple(each.key for each in reversed(keys)),
        )
        registration = webhooks.Registration(
            uid=new_id(),
            webhook=webhook,
            keys=keys,
            headers=self._seal_headers(webhook, request.webhook.headers),
            request_id=request.request_id,
            request_digest=request_digest(request),
        )
        async with self._parts.database.transaction() as connection:
            before = await webhooks.create_webhook(
                connection, organization(), registration, quota=self._parts.quota
            )
        if before is not None:
            return webhook_message(before)
        return webhook_message(webhook, secret=shown_secret(secret, schemes))

    async def GetWebhook(
        self, request: pb.GetWebhookRequest, context: Context
    ) -> webhook_pb2.Webhook:
        """Return a webhook."""
        async with self._parts.database.reading() as connection:
            webhook = await webhooks.get_webhook(
                connection, organization(), webhook_id_of(request.name)
            )
        if webhook is None:
            raise not_found(request.name)
        return webhook_message(webhook)

    async def ListWebhooks(
        self, request: pb.ListWebhooksRequest, context: Context
    ) -> pb.ListWebhooksResponse:
        """List webhooks by name."""
        page = page_of(request)
        async with self._parts.database.reading() as connection:
            found = await webhooks.list_webhooks(
                connection, organization(), after=page.cursor, limit=page.size + 1
            )
        shown, token = cut(request, page, found, lambda webhook: webhook.id)
        return pb.ListWebhooksResponse(
            webhooks=[webhook_message(webhook) for webhook in shown],
            next_page_token=token,
        )

    async def UpdateWebhook(
        self, request: pb.UpdateWebhookRequest, context: Context
    ) -> webhook_pb2.Webhook:
        """Change what people say of a webhook."""
        webhook_id = webhook_id_of(request.name)
        async with self._parts.database.reading() as connection:
            read = await webhooks.get_webhook(connection, organization(), webhook_id)
        if read is None:
            raise not_found(request.name)
        asked = read_changed(read, request, self._parts.egress)
        agreed = await self._agree(asked, read.subscription)
        async with self._parts.database.transaction() as connection:
            uid, webhook = await self._lock(connection, webhook_id, name=request.name)
            subscription = read_changed(webhook, request, self._parts.egress)
            if subscription.must_ask(webhook.subscription):
                if subscription != asked:
                    raise Aborted(
                        Reason.ETAG_MISMATCH,
                        f"{request.name} was changed while its endpoint was asked: repeat the call",
                        metadata={"resource": request.name, "etag": webhook.etag},
                    )
                subscription = agreed
            changed = webhook.updated(subscription, self._parts.clock.now())
            if changed != webhook:
                await webhooks.change_webhook(connection, uid, changed)
                if changes_headers(request):
                    sealed = self._seal_headers(changed, request.webhook.headers)
                    await webhooks.replace_headers(connection, uid, changed, sealed)
        return webhook_message(changed)

    async def ListEventTypes(
        self, request: pb.ListEventTypesRequest, context: Context
    ) -> pb.ListEventTypesResponse:
        """List what may be subscribed to, by name."""
        page = page_of(request)
        rest = [each for each in EVENT_TYPES if each > page.cursor]
        shown, token = cut(request, page, rest[: page.size + 1], lambda each: each)
        return pb.ListEventTypesResponse(
            event_types=[
                insight_pb2.EventType(type=each, description=EVENT_TYPES[each]) for each in shown
            ],
            next_page_token=token,
        )

    async def DeleteWebhook(self, request: pb.DeleteWebhookRequest, context: Context) -> Empty:
        """Delete a webhook; all that was sent to it is removed in the background."""
        webhook_id = webhook_id_of(request.name)
        async with self._parts.database.transaction() as connection:
            if not await webhooks.delete_webhook(connection, organization(), webhook_id):
                raise not_found(request.name)
        self._parts.deleted()
        return Empty()

    async def _agree(self, asked: Subscription, before: Subscription | None) -> Subscription:
        """Return what the endpoint agrees to, if it must be asked.

        Raises:
            FailedPrecondition: it does not agree.
        """
        if not asked.must_ask(before):
            return asked
        permission = await self._parts.poster.ask(
            asked.url, headers=question(self._parts.origin, asked.max_rate)
        )
        rate = agreed_rate(permission, origin=self._parts.origin, max_rate=asked.max_rate)
        return replace(asked, max_rate=rate)

    def _seal_headers(self, webhook: Webhook, headers: Mapping[str, str]) -> bytes | None:
        if not headers:
            return None
        place = headers_place(organization(), webhook.id, webhook.subscription.headers_version)
        return self._parts.key_ring.seal(to_json(dict(headers)).encode(), place)
