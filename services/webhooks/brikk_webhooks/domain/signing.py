"""How a delivery is signed: Standard Webhooks v1, so that any of its libraries verifies it."""

from __future__ import annotations

import base64
import hmac

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


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


def sign(key: bytes, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Make the `webhook-signature` of a body; the timestamp is in whole seconds.

    Signed is `{id}.{timestamp}.{body}` with HMAC-SHA256 (standardwebhooks.com, "Signature scheme").
    """
    signed = b"%b.%d.%b" % (message_id.encode("ascii"), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode("ascii")
