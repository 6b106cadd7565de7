"""WebhookService as a whole, and the methods that write and read webhooks."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from brikk.webhooks.v1 import insight_pb2, webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_shared.call import organization
from brikk_shared.clock import Clock
from brikk_shared.crypto import KeyRing
from brikk_shared.database import Database
from brikk_shared.egress import Egress
from brikk_shared.errors import Aborted, Reason, invalid_field, not_found
from brikk_shared.ids import new_id
from brikk_shared.pagination import cut, page_of
from brikk_shared.validator import validate
from brikk_webhooks.api.messages import (
    read_subscription,
    request_digest,
    schemes_asked,
    subscription_message,
    webhook_id_of,
    webhook_message,
)
from brikk_webhooks.api.verbs import WebhookVerbs
from brikk_webhooks.domain.catalog import EVENT_TYPES
from brikk_webhooks.domain.dispatch import key_place
from brikk_webhooks.domain.endpoint import host_of
from brikk_webhooks.domain.signing import (
    NEW_KEY_BYTES,
    Scheme,
    format_secret,
    parse_secret,
    public_key,
)
from brikk_webhooks.domain.webhook import SigningKey, Subscription, Webhook, check_room
from brikk_webhooks.store import webhooks
from brikk_webhooks.store.intake import Intake
from brikk_webhooks.store.replays import Replays
from brikk_webhooks.store.signing_keys import NewKey, SigningKeys

_OVERLAP = timedelta(hours=24)
"""For how long replaced keys sign, unless told."""
_WRITABLE = frozenset(
    {
        "channels",
        "description",
        "event_types",
        "filter",
        "max_in_flight",
        "max_rate",
        "ordering_key",
        "payload_mode",
        "payload_retention",
        "retry_schedule",
        "url",
    }
)


class WebhookServicer(WebhookVerbs):
    """Keeps webhooks. Secrets go in, and come out once.

    Args:
        egress: refuses endpoints that may not be called.
        key_ring: seals secrets.
        quota: most webhooks of an organisation.
        wake: called when deliveries may have come due.
        begun: called when a replay was begun.
        disabled: called when a webhook was disabled.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        replays: Replays,
        *,
        egress: Egress,
        key_ring: KeyRing,
        quota: int,
        clock: Clock,
        wake: Callable[[], None],
        begun: Callable[[], None],
        disabled: Callable[[], None],
    ) -> None:
        super().__init__(
            database, intake, replays, clock=clock, wake=wake, begun=begun, disabled=disabled
        )
        self._egress = egress
        self._key_ring = key_ring
        self._quota = quota
        self._signing_keys = SigningKeys(database)

    async def CreateWebhook(
        self, request: pb.CreateWebhookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> webhook_pb2.Webhook:
        """Create a webhook, or give the one that the same request created before."""
        schemes = schemes_asked(request.webhook)
        secret = _secret(request.webhook.secret, schemes, field="webhook.secret")
        webhook_id = request.webhook_id or new_id()
        keys = self._make_keys(webhook_id, schemes, secret, first=1)
        webhook = self._draft(request, webhook_id, keys)
        registration = webhooks.Registration(
            uid=new_id(),
            webhook=webhook,
            keys=keys,
            request_id=request.request_id,
            request_digest=request_digest(request),
        )
        async with self._database.transaction() as connection:
            before = await webhooks.create_webhook(
                connection, organization(), registration, quota=self._quota
            )
        if before is not None:
            return webhook_message(before)
        return webhook_message(webhook, secret=_shown(secret, schemes))

    async def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> webhook_pb2.Webhook:
        """Replace the keys of a webhook, unless the same request replaced them before."""
        webhook_id, digest = webhook_id_of(request.name), request_digest(request)
        overlap = request.overlap.ToTimedelta() if request.HasField("overlap") else _OVERLAP
        async with self._database.transaction() as connection:
            locked = await webhooks.lock_webhook(connection, organization(), webhook_id)
            if locked is None:
                raise not_found(request.name)
            uid, webhook = locked
            if await self._signing_keys.replaced_before(
                connection, uid, request_id=request.request_id, digest=digest
            ):
                return webhook_message(webhook)
            secret = _secret(request.secret, webhook.schemes, field="secret")
            check_room(webhook)
            first = webhook.signing_keys[0].version + 1
            await self._signing_keys.replace(
                connection,
                uid,
                self._make_keys(webhook_id, webhook.schemes, secret, first=first),
                overlap=overlap,
                request_id=request.request_id,
                digest=digest,
            )
            rotated = await webhooks.get_webhook(connection, organization(), webhook_id)
        if rotated is None:
            raise not_found(request.name)
        return webhook_message(rotated, secret=_shown(secret, rotated.schemes))

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

    async def UpdateWebhook(
        self, request: pb.UpdateWebhookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> webhook_pb2.Webhook:
        """Change what people say of a webhook."""

        def change(webhook: Webhook) -> Webhook:
            if request.etag and request.etag != webhook.etag:
                raise Aborted(
                    Reason.ETAG_MISMATCH,
                    f"{request.name} is at etag {webhook.etag}: read it again",
                    metadata={"resource": request.name, "etag": webhook.etag},
                )
            subscription = self._read_subscription(_merged(webhook, request))
            return webhook.updated(subscription, self._clock.now())

        return webhook_message(await self._change(request.name, change))

    async def ListEventTypes(
        self, request: pb.ListEventTypesRequest, context: grpc.aio.ServicerContext[Any, Any]
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

    async def DeleteWebhook(
        self, request: pb.DeleteWebhookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Empty:
        """Delete a webhook with all that was sent to it."""
        webhook_id = webhook_id_of(request.name)
        async with self._database.transaction() as connection:
            if not await webhooks.delete_webhook(connection, organization(), webhook_id):
                raise not_found(request.name)
        return Empty()

    def _draft(
        self, request: pb.CreateWebhookRequest, webhook_id: str, keys: Sequence[NewKey]
    ) -> Webhook:
        now = self._clock.now()
        return Webhook(
            id=webhook_id,
            subscription=self._read_subscription(request.webhook),
            create_time=now,
            update_time=now,
            signing_keys=tuple(each.key for each in reversed(keys)),
        )

    def _read_subscription(self, webhook: webhook_pb2.Webhook) -> Subscription:
        subscription = read_subscription(webhook)
        self._egress.check_literal(host_of(subscription.url), field="webhook.url")
        return subscription

    def _make_keys(
        self, webhook_id: str, schemes: Sequence[Scheme], secret: bytes, *, first: int
    ) -> list[NewKey]:
        """Make a key for each scheme, with versions from `first`; that of `v1` is the secret."""
        keys = []
        for version, scheme in enumerate(schemes, first):
            plain = secret if scheme is Scheme.V1 else secrets.token_bytes(NEW_KEY_BYTES)
            place = key_place(organization(), webhook_id, version)
            public = public_key(scheme, plain)
            key = SigningKey(version=version, scheme=scheme, public_key=public)
            keys.append(NewKey(key=key, sealed=self._key_ring.seal(plain, place)))
        return keys


def _merged(webhook: Webhook, request: pb.UpdateWebhookRequest) -> webhook_pb2.Webhook:
    """Return the webhook as the request wants it, within the limits of the contract."""
    given = request.webhook
    paths = set(request.update_mask.paths) or {
        field.name for field, _ in given.ListFields() if field.name in _WRITABLE
    }
    unknown = sorted(paths - _WRITABLE)
    if unknown:
        raise invalid_field("update_mask", f"names {unknown[0]}, which cannot be changed")
    merged = subscription_message(webhook.subscription)
    part = webhook_pb2.Webhook()
    part.CopyFrom(given)
    for field in webhook_pb2.Webhook.DESCRIPTOR.fields:
        replaced: Message = merged if field.name in paths else part
        replaced.ClearField(field.name)
    merged.MergeFrom(part)
    validate(pb.CreateWebhookRequest(webhook=merged))
    return merged


def _secret(given: str, schemes: Sequence[Scheme], *, field: str) -> bytes:
    if not given:
        return secrets.token_bytes(NEW_KEY_BYTES)
    if Scheme.V1 not in schemes:
        raise invalid_field(field, "is for v1, by which the webhook is not signed")
    key = parse_secret(given)
    if key is None:
        raise invalid_field(field, "must be whsec_ and 24 to 64 bytes in base64")
    return key


def _shown(secret: bytes, schemes: Sequence[Scheme]) -> str:
    return format_secret(secret) if Scheme.V1 in schemes else ""
