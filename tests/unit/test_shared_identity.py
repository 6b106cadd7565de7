"""Tokens are believed only from the issuers we trust, for what these may say, while they hold."""

from __future__ import annotations

import base64
import hmac
import json
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from brikk_shared.errors import Reason, Unauthenticated
from brikk_shared.identity import Identity, IssuerSettings, TokenVerifier
from brikk_shared.signing import TokenSigner, create_signing_key
from brikk_shared.testing import SERVICES_ISSUER, USERS_ISSUER, ManualClock, Tokens

_ISSUER = "https://idp.example"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens(tmp_path: Path, clock: ManualClock) -> Tokens:
    return Tokens(tmp_path, clock=clock)


async def _verifier(tokens: Tokens, clock: ManualClock) -> TokenVerifier:
    verifier = TokenVerifier(tokens.issuers, audience="brikk", clock=clock)
    await verifier.start()
    return verifier


async def _refusal(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        await verifier.verify(token)
    assert refused.value.reason is Reason.TOKEN_INVALID
    assert token not in refused.value.message or not token
    return refused.value.message.removeprefix("the bearer token ")


async def test_a_user_is_known_by_its_token(tokens: Tokens, clock: ManualClock) -> None:
    verifier = await _verifier(tokens, clock)
    identity = await verifier.verify(tokens.user("acme", "workflow.read", "agent.*"))
    assert identity == Identity(
        subject="users/tester",
        organization="acme",
        scopes=frozenset({"workflow.read", "agent.*"}),
    )


async def test_a_service_names_no_organisation(tokens: Tokens, clock: ManualClock) -> None:
    verifier = await _verifier(tokens, clock)
    identity = await verifier.verify(tokens.internal("agent.read"))
    assert identity.internal
    assert identity.organization == ""
    assert identity.allows("internal")
    assert identity.acting_for("acme").organization == "acme"


@pytest.mark.parametrize(
    ("granted", "asked", "allowed"),
    [
        ("webhook.read", "webhook.read", True),
        ("webhook.*", "webhook.read", True),
        ("webhook.*", "webhooks.read", False),
        ("webhook.read", "webhook.write", False),
        ("agent", "agent.read", False),
        ("agent.*", "agent", False),
        ("*", "agent", False),
        ("", "agent", False),
    ],
)
def test_scopes(granted: str, asked: str, *, allowed: bool) -> None:
    identity = Identity(subject="s", organization="o", scopes=frozenset(granted.split()))
    assert identity.allows(asked) is allowed


async def test_users_cannot_be_services(tokens: Tokens, clock: ManualClock) -> None:
    verifier = await _verifier(tokens, clock)
    identity = await verifier.verify(tokens.user("acme", "internal", "*"))
    assert not identity.internal
    assert not identity.allows("internal")


async def test_a_token_ends_even_when_it_was_verified(tokens: Tokens, clock: ManualClock) -> None:
    verifier = await _verifier(tokens, clock)
    token = tokens.user("acme", lifetime=timedelta(seconds=30))
    await verifier.verify(token)
    clock.advance(timedelta(seconds=29))
    await verifier.verify(token)
    clock.advance(timedelta(seconds=1))
    assert await _refusal(verifier, token) == "has expired"


async def test_another_audience_is_refused(tokens: Tokens, clock: ManualClock) -> None:
    verifier = await _verifier(tokens, clock)
    token = tokens.user("acme", audience="agents/summarizer")
    assert await _refusal(verifier, token) == "is not meant for this service"


async def test_a_token_may_come_before_its_time_by_the_skew_of_clocks(
    tokens: Tokens, clock: ManualClock
) -> None:
    verifier = await _verifier(tokens, clock)
    token = tokens.user("acme")
    clock.jump(-timedelta(seconds=4))
    await verifier.verify(token)
    clock.jump(-timedelta(seconds=4))
    fresh = await _verifier(tokens, clock)
    assert await _refusal(fresh, token) == "is not valid yet"


async def test_an_altered_token_is_refused(tokens: Tokens, clock: ManualClock) -> None:
    verifier = await _verifier(tokens, clock)
    header, payload, signature = tokens.user("acme").split(".")
    other = tokens.user("other").split(".")[1]
    assert await _refusal(verifier, f"{header}.{other}.{signature}") == "does not hold"
    assert await _refusal(verifier, f"{header}.{payload}.") == "does not hold"


def _nested(levels: int) -> str:
    return base64.urlsafe_b64encode(b"[" * levels).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "junk",
    [
        _nested(5_000),
        f"{_nested(2_000)}.{_nested(3_000)}.x",
        "x",
        "a.b.c",
        "a.b",
        "\udcff",
        "..",
        "é.é.é",
        "x" * 9_000,
    ],
)
async def test_junk_is_refused(tokens: Tokens, clock: ManualClock, junk: str) -> None:
    assert await _refusal(await _verifier(tokens, clock), junk)


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _part(content: dict[str, str]) -> str:
    return _base64(json.dumps(content).encode())


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class _Idp:
    """A foreign issuer, with any key and any claims."""

    def __init__(self, folder: Path, clock: ManualClock, **settings: Any) -> None:
        self.path = folder / "idp.jwks.json"
        self.clock = clock
        self.keys: list[dict[str, Any]] = []
        self.publish()
        self.settings = IssuerSettings(
            issuer=_ISSUER,
            jwks=str(self.path),
            **({"organizations": ["acme"]} | settings),
        )

    def publish(self) -> None:
        self.path.write_text(json.dumps({"keys": self.keys}))

    def add(self, kid: str, algorithm: str, key: Any, public: Any, **extra: Any) -> None:
        to_jwk: dict[str, Callable[..., Any]] = {
            "EdDSA": OKPAlgorithm.to_jwk,
            "ES256": ECAlgorithm.to_jwk,
            "RS256": RSAAlgorithm.to_jwk,
        }
        self.keys.append({**to_jwk[algorithm](public, as_dict=True), "kid": kid, **extra})
        self.publish()

    def token(self, key: Any, algorithm: str, kid: str | None = "k", **claims: Any) -> str:
        now = int(self.clock.now().timestamp())
        content = {"iss": _ISSUER, "sub": "u", "aud": "brikk", "exp": now + 60, "org": "acme"}
        content |= claims
        content = {name: value for name, value in content.items() if value is not None}
        headers = {"kid": kid} if kid is not None else {}
        return jwt.encode(content, key, algorithm=algorithm, headers=headers)

    async def verifier(self) -> TokenVerifier:
        verifier = TokenVerifier([self.settings], audience="brikk", clock=self.clock)
        await verifier.start()
        return verifier


@pytest.fixture
def idp(tmp_path: Path, clock: ManualClock) -> _Idp:
    return _Idp(tmp_path, clock)


async def test_the_three_algorithms_are_understood(idp: _Idp) -> None:
    ed, p256 = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    rsa_key = rsa.generate_private_key(65537, 2048)
    pairs = [("EdDSA", ed), ("ES256", p256), ("RS256", rsa_key)]
    for algorithm, key in pairs:
        idp.add(algorithm, algorithm, key, key.public_key())  # type: ignore[attr-defined]
    verifier = await idp.verifier()
    for algorithm, key in pairs:
        identity = await verifier.verify(idp.token(key, algorithm, kid=algorithm))
        assert identity.organization == "acme"


async def test_the_token_cannot_choose_its_algorithm(idp: _Idp) -> None:
    key = rsa.generate_private_key(65537, 2048)
    idp.add("k", "RS256", key, key.public_key())
    verifier = await idp.verifier()
    unsigned = idp.token(None, "none")
    assert await _refusal(verifier, unsigned) == "does not hold"
    # The classic: an HMAC whose secret is the public key that everybody has.
    signed = _part({"alg": "HS256", "kid": "k"}) + "." + unsigned.split(".")[1]
    for public in (key.public_key().public_numbers().n.to_bytes(256, "big"), _pem(key)):
        mac = hmac.digest(public, signed.encode(), "sha256")
        assert await _refusal(verifier, f"{signed}.{_base64(mac)}") == "does not hold"
    assert await _refusal(verifier, idp.token(key, "RS512")) == "does not hold"
    other = ed25519.Ed25519PrivateKey.generate()
    assert await _refusal(verifier, idp.token(other, "EdDSA")) == "does not hold"


async def test_keys_that_are_weak_or_not_for_signatures_are_not_used(idp: _Idp) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    idp.add("enc", "EdDSA", key, key.public_key(), use="enc")
    idp.add("alg", "EdDSA", key, key.public_key(), alg="RS256")
    idp.keys += [{"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}, {"kty": "OKP"}]
    idp.publish()
    verifier = await idp.verifier()
    for kid in ("enc", "alg"):
        assert await _refusal(verifier, idp.token(key, "EdDSA", kid=kid)) == (
            "is signed with an unknown key"
        )
    secret = idp.token(b"secret" * 8, "HS256", kid="oct")
    assert await _refusal(verifier, secret) == "is signed with an unknown key"
    odd = {"kty": "OKP", "crv": "Ed25519", "x": 5, "kid": "odd"}
    idp.path.write_text(json.dumps({"keys": [odd]}))
    with pytest.raises(ValueError, match="key odd cannot be used"):
        await idp.verifier()
    weak = rsa.generate_private_key(65537, 1024)
    idp.add("weak", "RS256", weak, weak.public_key())
    with pytest.raises(ValueError, match="fewer than 2048 bits"):
        await idp.verifier()


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"exp": None}, "does not hold"),
        ({"sub": None}, "does not hold"),
        ({"aud": None}, "does not hold"),
        ({"sub": ""}, "has no usable subject"),
        ({"sub": "x" * 257}, "has no usable subject"),
        ({"sub": "a\0"}, "has no usable subject"),
        ({"org": None}, "names no organisation"),
        ({"org": "Not A Label"}, "names no organisation"),
        ({"org": "acme\n"}, "names no organisation"),
        ({"org": 7}, "has claims of the wrong type"),
        ({"scope": ["a"]}, "has claims of the wrong type"),
        ({"exp": "soon"}, "has times that are not numbers"),
        ({"nbf": "soon"}, "has times that are not numbers"),
        ({"exp": True}, "has expired"),
        (
            {"org": "other"},
            "comes from an issuer that may not speak for its organisation",
        ),
        ({"iss": "https://else.example"}, "comes from an unknown issuer"),
        ({"iss": None}, "comes from an unknown issuer"),
    ],
)
async def test_claims_are_checked(idp: _Idp, claims: dict[str, Any], message: str) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    idp.add("k", "EdDSA", key, key.public_key())
    verifier = await idp.verifier()
    assert await _refusal(verifier, idp.token(key, "EdDSA", **claims)) == message


async def test_a_token_names_its_key(idp: _Idp) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    idp.add("k", "EdDSA", key, key.public_key())
    verifier = await idp.verifier()
    assert await _refusal(verifier, idp.token(key, "EdDSA", kid=None)) == "does not name its key"


async def test_an_internal_issuer_issues_tokens_of_services_only(
    tmp_path: Path, clock: ManualClock
) -> None:
    idp = _Idp(tmp_path, clock, internal=True, organizations=[])
    key = ed25519.Ed25519PrivateKey.generate()
    idp.add("k", "EdDSA", key, key.public_key())
    verifier = await idp.verifier()
    for claims in ({"scope": "internal"}, {"org": None, "scope": "workflow.read"}):
        token = idp.token(key, "EdDSA", **claims)
        assert await _refusal(verifier, token) == "is not the token of a service"


async def test_one_issuer_cannot_sign_for_another(tokens: Tokens, clock: ManualClock) -> None:
    verifier = await _verifier(tokens, clock)
    # The key of the users, in the name of the services.
    forged = TokenSigner(SERVICES_ISSUER, json.loads(tokens.users_key.read_text())["key"])
    token = forged.mint(
        subject="s", scopes=["internal"], audience="brikk", lifetime=timedelta(days=10_000)
    )
    assert await _refusal(verifier, token) == "is signed with an unknown key"


async def test_a_rotated_file_takes_effect_both_ways(idp: _Idp) -> None:
    old, new = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    idp.add("old", "EdDSA", old, old.public_key())
    verifier = await idp.verifier()
    old_token, new_token = idp.token(old, "EdDSA", "old"), idp.token(new, "EdDSA", "new")
    await verifier.verify(old_token)
    assert await _refusal(verifier, new_token) == "is signed with an unknown key"
    idp.keys.clear()
    idp.add("new", "EdDSA", new, new.public_key())
    await verifier.verify(new_token)
    # The old verdict went with the old keys.
    assert await _refusal(verifier, old_token) == "is signed with an unknown key"
    # A file that broke, or is gone for a moment, leaves the keys as they were.
    idp.path.write_text("{")
    await verifier.verify(idp.token(new, "EdDSA", "new", sub="other"))
    idp.path.unlink()
    await verifier.verify(idp.token(new, "EdDSA", "new", sub="another"))


async def test_a_verifier_without_keys_does_not_start(clock: ManualClock, tmp_path: Path) -> None:
    issuer = IssuerSettings(issuer=_ISSUER, jwks=str(tmp_path / "absent"))
    verifier = TokenVerifier([issuer], audience="brikk", clock=clock)
    with pytest.raises(OSError, match="absent"):
        await verifier.start()


def test_a_signing_key_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    signer = create_signing_key(path, USERS_ISSUER)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        create_signing_key(path, USERS_ISSUER)
    assert TokenSigner.from_file(path).jwks() == signer.jwks()
    (public,) = signer.jwks()["keys"]
    assert "d" not in public
    assert public["alg"] == "EdDSA"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"issuer": "i", "key": {"kty": "OKP"}}'])
def test_a_file_that_is_no_signing_key_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"."):
        TokenSigner.from_file(path)


def test_a_public_key_does_not_sign(tmp_path: Path) -> None:
    signer = create_signing_key(tmp_path / "key.json", USERS_ISSUER)
    with pytest.raises(ValueError, match="private"):
        TokenSigner(USERS_ISSUER, signer.jwks()["keys"][0])
