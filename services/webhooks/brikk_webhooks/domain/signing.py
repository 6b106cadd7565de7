"""How a delivery is signed: Standard Webhooks, so that any of its libraries verifies it."""

from __future__ import annotations

import base64
import hmac
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)
NEW_KEY_BYTES = 32
"""Bytes of a key made here, by chance, whatever its scheme."""

_PUBLIC_PREFIX = "whpk_"


class Scheme(StrEnum):
    """How a signature is made; the name stands before it in the header."""

    V1 = "v1"
    """HMAC-SHA256."""
    V1A = "v1a"
    """Ed25519."""


def format_secret(key: bytes) -> str:
    """Write a signing key the way people copy it: `whsec_` and base64."""
    return PREFIX + base64.b64encode(key).decode("ascii")


def parse_secret(secret: str) -> bytes | None:
    """Read the signing key of a secret; None unless it is `whsec_` and 24 to 64 bytes in base64.

    Padding may be left out, as verifiers allow.
    """
    if not secret.startswith(PREFIX):
        return None
    encoded = secret.removeprefix(PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return None
    return key if len(key) in KEY_BYTES else None


def public_key(scheme: Scheme, key: bytes) -> str:
    """Write what verifies the signatures of a key: `whpk_` and base64; nothing for `v1`."""
    if scheme is Scheme.V1:
        return ""
    public = Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
    return _PUBLIC_PREFIX + base64.b64encode(public).decode("ascii")


def signed_content(*, message_id: str, timestamp: int, body: bytes) -> bytes:
    """Give what is signed: `{id}.{timestamp}.{body}`, with the timestamp in whole seconds."""
    return b"%b.%d.%b" % (message_id.encode("ascii"), timestamp, body)


def sign(scheme: Scheme, key: bytes, content: bytes) -> str:
    """Make one of the signatures that stand in `webhook-signature`, separated by spaces.

    See standardwebhooks.com, "Signature scheme".
    """
    if scheme is Scheme.V1:
        signature = hmac.digest(key, content, "sha256")
    else:
        signature = Ed25519PrivateKey.from_private_bytes(key).sign(content)
    return f"{scheme},{base64.b64encode(signature).decode('ascii')}"
