"""Verification of Brikk's webhooks: Standard Webhooks, v1 and v1a (standardwebhooks.com)."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from brikk_agent.structs import Json

_SECRET = "whsec_"  # noqa: S105 - what secrets begin with
_SECRET_BYTES = range(24, 65)
_PUBLIC_KEY = "whpk_"
_PUBLIC_KEY_BYTES = 32

_Check = Callable[[bytes, bytes], bool]
"""Tells whether a signature, the first argument, is that of the second."""


class WebhookRefused(Exception):
    """A request that must not be trusted; answer it with status 400."""


class HeaderMissing(WebhookRefused):
    """A webhook header is absent or malformed."""


class TimestampRefused(WebhookRefused):
    """The attempt was signed too long ago, or in the future: perhaps a replay."""


class SignatureRefused(WebhookRefused):
    """No signature in the request was made with one of the secrets or keys."""


class BodyRefused(WebhookRefused):
    """The signature is right, but the body is not a JSON object."""


class WebhookVerifier:
    """Verifies requests that were signed with one of these secrets or keys.

    `whsec_...` secrets verify `v1` signatures, `whpk_...` public keys verify `v1a` signatures; one
    right signature is enough. Give both while one replaces the other. A request whose timestamp
    differs from the clock by more than `tolerance` is refused. Raises ValueError for a malformed
    secret or key.
    """

    def __init__(
        self,
        secret_or_key: str | Sequence[str],
        *,
        tolerance: timedelta = timedelta(minutes=5),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        given = [secret_or_key] if isinstance(secret_or_key, str) else secret_or_key
        if not given:
            raise ValueError("a verifier needs at least one secret or public key")
        self._checks = [_check(each) for each in given]
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
        if not any(
            check(signature, content)
            for scheme, signature in _signatures(signatures)
            for own, check in self._checks
            if own == scheme
        ):
            raise SignatureRefused(self._why_refused(signatures))
        return _event(body)

    def _why_refused(self, signatures: str) -> str:
        offered = {scheme for scheme, _ in _signatures(signatures)}
        usable = {scheme for scheme, _ in self._checks}
        if offered & usable:
            return "no signature matches; are the secrets and keys those of this webhook?"
        wanted = " or ".join(sorted(usable))
        return f"there is no {wanted} signature; is the webhook signed so?"

    def _check_timestamp(self, timestamp: str) -> None:
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            raise HeaderMissing("webhook-timestamp must be whole seconds since 1970")
        age = self._clock().timestamp() - int(timestamp)
        if abs(age) > self._tolerance.total_seconds():
            when = "ago" if age > 0 else "in the future"
            raise TimestampRefused(f"the request was signed {abs(age):.0f} s {when}")


def _check(given: str) -> tuple[str, _Check]:
    """Reads a secret or public key: the scheme that it verifies, and how."""
    if given.startswith(_PUBLIC_KEY):
        key = _decode(given.removeprefix(_PUBLIC_KEY))
        if len(key) != _PUBLIC_KEY_BYTES:
            raise ValueError("a public key of webhooks is whpk_ and the base64 of 32 bytes")
        return "v1a", partial(_is_v1a, Ed25519PublicKey.from_public_bytes(key))
    key = _decode(given.removeprefix(_SECRET))
    if not given.startswith(_SECRET) or len(key) not in _SECRET_BYTES:
        raise ValueError("a webhook secret is whsec_ and the base64 of 24 to 64 bytes")
    return "v1", partial(_is_v1, key)


def _is_v1(key: bytes, signature: bytes, content: bytes) -> bool:
    return hmac.compare_digest(signature, hmac.digest(key, content, "sha256"))


def _is_v1a(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # beyond ASCII, or no base64
        return b""


def _header(headers: Mapping[str, str], name: str) -> str:
    if not headers.get(name):
        raise HeaderMissing(f"the header {name} is missing")
    return headers[name]


def _signatures(header: str) -> list[tuple[str, bytes]]:
    """The schemes and signatures of a header; what is malformed may stand beside a right one."""
    parts = (part.partition(",") for part in header.split(" "))
    return [(scheme, _decode(signature)) for scheme, _, signature in parts]


def _event(body: bytes) -> dict[str, Json]:
    try:
        event = json.loads(body)
    except ValueError as error:
        raise BodyRefused(f"the body is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise BodyRefused("the body is not a JSON object")
    return event
