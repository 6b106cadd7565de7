"""WebhookService: signing keys, made for webhooks and replaced."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta

from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_shared.call import organization
from brikk_shared.errors import invalid_field, not_found
from brikk_webhooks.api.messages import request_digest, webhook_id_of, webhook_message
from brikk_webhooks.api.parts import Context, Methods
from brikk_webhooks.domain.dispatch import key_place
from brikk_webhooks.domain.signing import (
    NEW_KEY_BYTES,
    Scheme,
    format_secret,
    parse_secret,
    public_key,
)
from brikk_webhooks.domain.webhook import SigningKey, check_room
from brikk_webhooks.store import webhooks
from brikk_webhooks.store.signing_keys import NewKey

_OVERLAP = timedelta(hours=24)
"""For how long replaced keys sign, unless told."""


class KeyMethods(Methods):
    """The part of the service that makes keys. Secrets go in, and come out once."""

    async def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, context: Context
    ) -> webhook_pb2.Webhook:
        """Replace the keys of a webhook, unless the same request replaced them before."""
        webhook_id, digest = webhook_id_of(request.name), request_digest(request)
        overlap = request.overlap.ToTimedelta() if request.HasField("overlap") else _OVERLAP
        async with self._parts.database.transaction() as connection:
            uid, webhook = await self._lock(connection, webhook_id, name=request.name)
            if await self._parts.signing_keys.replaced_before(
                connection, uid, request_id=request.request_id, digest=digest
            ):
                return webhook_message(webhook)
            secret = given_secret(request.secret, webhook.schemes, field="secret")
            check_room(webhook)
            first = webhook.signing_keys[0].version + 1
            await self._parts.signing_keys.replace(
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
        return webhook_message(rotated, secret=shown_secret(secret, rotated.schemes))

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
            keys.append(NewKey(key=key, sealed=self._parts.key_ring.seal(plain, place)))
        return keys


def given_secret(given: str, schemes: Sequence[Scheme], *, field: str) -> bytes:
    """Read the secret of a request, or make one when it gives none.

    Raises:
        InvalidArgument: it is no secret, or would sign nothing; errors call it by `field`.
    """
    if not given:
        return secrets.token_bytes(NEW_KEY_BYTES)
    if Scheme.V1 not in schemes:
        raise invalid_field(field, "is for v1, by which the webhook is not signed")
    key = parse_secret(given)
    if key is None:
        raise invalid_field(field, "must be whsec_ and 24 to 64 bytes in base64")
    return key


def shown_secret(secret: bytes, schemes: Sequence[Scheme]) -> str:
    """Write the secret as people copy it; nothing where it does not sign."""
    return format_secret(secret) if Scheme.V1 in schemes else ""
