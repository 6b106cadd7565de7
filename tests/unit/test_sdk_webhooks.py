from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from brikk_agent import (
    BodyRefused,
    HeaderMissing,
    SignatureRefused,
    TimestampRefused,
    WebhookRefused,
    WebhookVerifier,
)

# The vector of the Standard Webhooks specification.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SIGNED_AT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
HEADERS = {
    "webhook-id": MESSAGE_ID,
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
OTHER_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()

PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = "whpk_" + base64.b64encode(PRIVATE_KEY.public_key().public_bytes_raw()).decode()


def clock(offset: timedelta = timedelta(0)) -> Callable[[], datetime]:
    return lambda: SIGNED_AT + offset


def verifier(*secrets: str, offset: timedelta = timedelta(0)) -> WebhookVerifier:
    return WebhookVerifier(secrets or (SECRET,), clock=clock(offset))


def sign(secret: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{MESSAGE_ID}.1614265330.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def sign_v1a(body: bytes) -> str:
    content = f"{MESSAGE_ID}.1614265330.".encode() + body
    return "v1a," + base64.b64encode(PRIVATE_KEY.sign(content)).decode()


BOTH = verifier(SECRET, PUBLIC_KEY)
SIGNED = HEADERS | {"webhook-signature": f"{sign(SECRET, BODY)} {sign_v1a(BODY)}"}


def test_the_vector_of_the_specification_is_verified() -> None:
    assert verifier().verify(HEADERS, BODY) == {"test": 2432232314}
    assert WebhookVerifier(SECRET, clock=clock()).verify(HEADERS, BODY)


def test_what_another_library_signs_is_verified() -> None:
    body = '{"text": "Grüße, 東京 \\u0001", "n": 1.50}'
    now = datetime.now(UTC)
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": Webhook(SECRET).sign("msg_1", now, body),
    }
    assert WebhookVerifier(SECRET).verify(headers, body.encode())["n"] == 1.5


def test_one_right_signature_among_several_is_enough() -> None:
    junk = "v1a,AAAA v2,zzz v1,*** v1 v1, "
    headers = HEADERS | {"webhook-signature": junk + HEADERS["webhook-signature"]}
    assert verifier().verify(headers, BODY)


def test_either_secret_verifies_while_one_replaces_the_other() -> None:
    headers = HEADERS | {"webhook-signature": sign(OTHER_SECRET, BODY)}
    assert verifier(SECRET, OTHER_SECRET).verify(headers, BODY)
    with pytest.raises(SignatureRefused):
        verifier(SECRET).verify(headers, BODY)


@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1], b""])
def test_an_altered_body_is_refused(body: bytes) -> None:
    with pytest.raises(SignatureRefused):
        verifier().verify(HEADERS, body)


@pytest.mark.parametrize("change", [{"webhook-id": "msg_2"}, {"webhook-timestamp": "1614265331"}])
def test_altered_headers_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        verifier().verify(HEADERS | change, BODY)


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_a_missing_header_is_named(name: str) -> None:
    for headers in ({k: v for k, v in HEADERS.items() if k != name}, HEADERS | {name: ""}):
        with pytest.raises(HeaderMissing, match=name):
            verifier().verify(headers, BODY)


@pytest.mark.parametrize("timestamp", ["soon", "-1", "1.5", "\uff11\uff16", "1" * 400])
def test_a_malformed_timestamp_is_refused(timestamp: str) -> None:
    with pytest.raises(HeaderMissing, match="whole seconds"):
        verifier().verify(HEADERS | {"webhook-timestamp": timestamp}, BODY)


def test_the_tolerance_reaches_both_ways() -> None:
    five = timedelta(minutes=5)
    for offset in (five, -five):
        assert verifier(offset=offset).verify(HEADERS, BODY)
    for offset in (five + timedelta(seconds=1), -five - timedelta(seconds=1)):
        with pytest.raises(TimestampRefused, match="301 s"):
            verifier(offset=offset).verify(HEADERS, BODY)


@pytest.mark.parametrize("body", [b"[1]", b"nothing", b"\xff"])
def test_a_signed_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BodyRefused):
        verifier().verify(HEADERS | {"webhook-signature": sign(SECRET, body)}, body)


def test_header_text_beyond_ascii_is_refused_like_any_other() -> None:
    for odd in ("msg_é", "msg_\udcff"):
        with pytest.raises(WebhookRefused):
            verifier().verify(HEADERS | {"webhook-id": odd}, BODY)


@pytest.mark.parametrize(
    "secret", ["", SECRET.removeprefix("whsec_"), "whsec_AAAA", "whsec_***", "whsec_" + "A" * 100]
)
def test_a_malformed_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes") as caught:
        WebhookVerifier(secret)
    assert not secret or secret not in str(caught.value)


def test_a_verifier_without_a_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one secret"):
        WebhookVerifier([])


def test_a_public_key_verifies_v1a() -> None:
    headers = HEADERS | {"webhook-signature": f"v1,AAAA {sign_v1a(BODY)}"}
    for keys in ((PUBLIC_KEY,), (OTHER_SECRET, PUBLIC_KEY), (PUBLIC_KEY, SECRET)):
        assert verifier(*keys).verify(headers, BODY) == {"test": 2432232314}
    with pytest.raises(SignatureRefused):
        verifier(PUBLIC_KEY).verify(headers, BODY + b" ")


def test_a_key_is_used_with_its_own_scheme_only() -> None:
    """A public key is public: whoever has it must not pass for the service by another scheme."""
    confused = "whsec_" + PUBLIC_KEY.removeprefix("whpk_")
    headers = HEADERS | {"webhook-signature": sign(confused, BODY)}
    with pytest.raises(SignatureRefused, match="no v1a signature"):
        verifier(PUBLIC_KEY).verify(headers, BODY)
    renamed = sign_v1a(BODY).replace("v1a", "v1")
    with pytest.raises(SignatureRefused):
        verifier(SECRET, PUBLIC_KEY).verify(HEADERS | {"webhook-signature": renamed}, BODY)


def test_which_signature_is_missing_is_told() -> None:
    headers = HEADERS | {"webhook-signature": sign_v1a(BODY)}
    with pytest.raises(SignatureRefused, match="there is no v1 signature"):
        verifier().verify(headers, BODY)


@pytest.mark.parametrize("key", ["whpk_", "whpk_AAAA", "whpk_***", "whpk_é", PUBLIC_KEY + "AAAA"])
def test_a_malformed_public_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        WebhookVerifier(key)


@given(body=st.binary(max_size=60), at=st.integers(0), flip=st.integers(1, 255))
def test_no_tampered_body_passes(body: bytes, at: int, flip: int) -> None:
    altered = bytearray(BODY)
    altered[at % len(BODY)] ^= flip
    for changed in (bytes(altered), body + BODY, BODY + body, body):
        if changed != BODY:
            with pytest.raises(SignatureRefused):
                BOTH.verify(SIGNED, changed)


@given(
    name=st.sampled_from(["webhook-id", "webhook-timestamp"]),
    text=st.text(max_size=20),
    at=st.integers(0),
)
def test_no_tampered_header_passes(name: str, text: str, at: int) -> None:
    cut = at % (len(SIGNED[name]) + 1)
    for value in (text, SIGNED[name][:cut] + text + SIGNED[name][cut + 1 :]):
        if value != SIGNED[name]:
            with pytest.raises(WebhookRefused):
                BOTH.verify(SIGNED | {name: value}, BODY)


@given(at=st.integers(0), flip=st.integers(1, 255), junk=st.text(max_size=20))
def test_no_tampered_signature_passes(at: int, flip: int, junk: str) -> None:
    tampered = [junk]
    for each in SIGNED["webhook-signature"].split(" "):
        scheme, _, encoded = each.partition(",")
        signature = bytearray(base64.b64decode(encoded))
        signature[at % len(signature)] ^= flip
        tampered.append(f"{scheme},{base64.b64encode(signature).decode()}")
    with pytest.raises(WebhookRefused):
        BOTH.verify(SIGNED | {"webhook-signature": " ".join(tampered)}, BODY)
    one_right = " ".join([*tampered, sign(SECRET, BODY)])
    assert BOTH.verify(SIGNED | {"webhook-signature": one_right}, BODY)
