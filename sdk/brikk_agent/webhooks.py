"""Verification of Brikk's webhooks: Standard Webhooks, signature v1 (standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from brikk_agent.structs import Json

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)


class WebhookRefused(Exception):
    """A request that must not be trusted; answer it with status 400."""


class HeaderMissing(WebhookRefused):
    """A webhook header is absent or malformed."""


class TimestampRefused(WebhookRefused):
    """The attempt was signed too long ago, or in the future: perhaps a replay."""


class SignatureRefused(WebhookRefused):
    """No signature in the request was made with one of the secrets."""


class BodyRefused(WebhookRefused):
    """The signature is right, but the body is not a JSON object."""


class WebhookVerifier:
    """Verifies requests that were signed with one of these `whsec_...` secrets.

    Give both secrets while one replaces the other. A request whose timestamp differs from the
    clock by more than `tolerance` is refused. Raises ValueError for a malformed secret.
    """

    def __init__(
        self,
        secret: str | Sequence[str],
        *,
        tolerance: timedelta = timedelta(minutes=5),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        secrets = [secret] if isinstance(secret, str) else secret
        if not secrets:
            raise ValueError("a verifier needs at least one secret")
        self._keys = [_key(each) for each in secrets]
        self._tolerance = tolerance
        self._clock = clock

    def verify(self, headers: Mapping[str, str], body: bytes) -> dict[str, Json]:
        """Returns the event in the body; raises WebhookRefused unless its signature is right.

        `body` is the request's bytes exactly as they arrived: parsing and writing JSON again
        would change them. Header names may be in any case. Deduplicate by the `webhook-id`
        header: it stays the same when a delivery is repeated.
        """
        given = {name.lower(): value for name, value in headers.items()}
        message_id = _header(given, "webhook-id")
        timestamp = _header(given, "webhook-timestamp")
        signatures = _header(given, "webhook-signature")
        self._check_timestamp(timestamp)
        content = b".".join((message_id.encode(errors="surrogateescape"), timestamp.encode(), body))
        expected = [hmac.new(key, content, hashlib.sha256).digest() for key in self._keys]
        if not any(
            hmac.compare_digest(signature, own)
            for signature in _v1_signatures(signatures)
            for own in expected
        ):
            raise SignatureRefused("no signature matches; is the secret that of this webhook?")
        return _event(body)

    def _check_timestamp(self, timestamp: str) -> None:
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            raise HeaderMissing("webhook-timestamp must be whole seconds since 1970")
        age = self._clock().timestamp() - int(timestamp)
        if abs(age) > self._tolerance.total_seconds():
            when = "ago" if age > 0 else "in the future"
            raise TimestampRefused(f"the request was signed {abs(age):.0f} s {when}")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        raise ValueError("a webhook secret is whsec_ and the base64 of 24 to 64 bytes")
    return key


def _header(headers: Mapping[str, str], name: str) -> str:
    if not headers.get(name):
        raise HeaderMissing(f"the header {name} is missing")
    return headers[name]


def _v1_signatures(header: str) -> list[bytes]:
    found = []
    for part in header.split(" "):
        version, _, signature = part.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(signature, validate=True))
            except ValueError:
                continue  # not one of ours; another one may be
    return found


def _event(body: bytes) -> dict[str, Json]:
    try:
        event = json.loads(body)
    except ValueError as error:
        raise BodyRefused(f"the body is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise BodyRefused("the body is not a JSON object")
    return event
