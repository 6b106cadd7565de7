"""Tokens of our own: for calls between services, for calls to agents, for developers."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from brikk_shared.clock import Clock, SystemClock
from brikk_shared.ids import new_id

_ALGORITHM = "EdDSA"


class TokenSigner:
    """Signs tokens in the name of one issuer with one Ed25519 key."""

    def __init__(self, issuer: str, key: dict[str, str], *, clock: Clock | None = None) -> None:
        """`key` is a private JWK with its `kid`. ValueError when it is not."""
        try:
            self._key = jwt.PyJWK(key, algorithm=_ALGORITHM)
        except jwt.PyJWTError as error:
            raise ValueError(f"not a private Ed25519 key: {error}") from error
        if "d" not in key or "kid" not in key:
            raise ValueError("not a private Ed25519 key with an id")
        self.issuer = issuer
        self._kid = key["kid"]
        self._public = {"kty": "OKP", "crv": "Ed25519", "x": key["x"], "kid": self._kid}
        self._clock = clock or SystemClock()

    @classmethod
    def from_file(cls, path: Path, *, clock: Clock | None = None) -> TokenSigner:
        """Read what `create_signing_key` wrote. OSError or ValueError when it cannot be used."""
        document = json.loads(path.read_bytes())
        try:
            return cls(document["issuer"], document["key"], clock=clock)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a signing key") from error

    def mint(
        self,
        *,
        subject: str,
        scopes: Collection[str],
        audience: str,
        lifetime: timedelta,
        organization: str | None = None,
    ) -> str:
        """A token that is valid from now on. Tokens of services name no organisation."""
        now = self._clock.now()
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": subject,
            "aud": audience,
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
            "jti": new_id(),
            "scope": " ".join(sorted(scopes)),
        }
        if organization is not None:
            claims["org"] = organization
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM, headers={"kid": self._kid})

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The JSON Web Key Set with the public half, for those who verify."""
        return {"keys": [{**self._public, "alg": _ALGORITHM, "use": "sig"}]}


def create_signing_key(path: Path, issuer: str) -> TokenSigner:
    """Make a key and write it to a new file that only its owner can read.

    FileExistsError when there is one already.
    """
    key = Ed25519PrivateKey.generate()
    jwk = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": _base64(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)),
    }
    # The id is the key's thumbprint (RFC 7638), so the same key never has two.
    kid = _base64(
        hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest()
    )
    private = {**jwk, "d": _base64(key.private_bytes_raw()), "kid": kid}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"issuer": issuer, "key": private}, file)
    return TokenSigner(issuer, private)


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
