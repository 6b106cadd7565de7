"""Signatures are those of Standard Webhooks, whatever the key and the body."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
import standardwebhooks
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from brikk_webhooks.domain.signing import (
    Scheme,
    format_secret,
    parse_secret,
    public_key,
    sign,
    signed_content,
)

KEYS = st.binary(min_size=32, max_size=32)


def test_signs_the_published_vector() -> None:
    key = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert key is not None
    content = signed_content(
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert sign(Scheme.V1, key, content) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(key=st.binary(min_size=24, max_size=64), body=st.text(), timestamp=st.integers(0, 2**33))
def test_signs_as_the_reference_library_does(key: bytes, body: str, timestamp: int) -> None:
    secret = format_secret(key)
    assert parse_secret(secret) == key
    expected = standardwebhooks.Webhook(secret).sign(
        "msg_1", datetime.fromtimestamp(timestamp, UTC), body
    )
    content = signed_content(message_id="msg_1", timestamp=timestamp, body=body.encode())
    assert sign(Scheme.V1, key, content) == expected


@given(key=KEYS, content=st.binary(max_size=200))
def test_the_public_key_verifies_what_v1a_signs(key: bytes, content: bytes) -> None:
    public = public_key(Scheme.V1A, key)
    assert public.startswith("whpk_")
    scheme, _, signature = sign(Scheme.V1A, key, content).partition(",")
    assert scheme == "v1a"
    verifier = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    verifier.verify(base64.b64decode(signature), content)
    with pytest.raises(InvalidSignature):
        verifier.verify(base64.b64decode(signature), content + b" ")


def test_a_secret_has_no_public_key() -> None:
    assert public_key(Scheme.V1, bytes(32)) == ""


@pytest.mark.parametrize("size", [24, 25, 26, 64])
def test_accepts_secrets_without_padding(size: int) -> None:
    key = bytes(range(size))
    encoded = base64.b64encode(key).decode().rstrip("=")
    assert parse_secret(f"whsec_{encoded}") == key


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        format_secret(bytes(23)),
        format_secret(bytes(65)),
        format_secret(bytes(32)).removeprefix("whsec_"),
        "whsec_" + "A" * 33,  # no bytes give so many characters
        "whsec_" + "-_" * 20,
        "whsec_" + "é" * 40,
    ],
)
def test_refuses_what_is_no_secret(secret: str) -> None:
    assert parse_secret(secret) is None
