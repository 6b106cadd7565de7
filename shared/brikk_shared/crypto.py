"""How secrets rest: each under a data key of its own, which lies sealed under a key of the ring."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_FORMAT = 1
_KEY = 32
_NONCE = 12
_TAG = 16
_WRAPPED = _NONCE + _KEY + _TAG


class SealingError(Exception):
    """The key ring cannot be read, or sealed bytes cannot be opened where they lie."""


class KeyMissing(SealingError):
    """The key that bytes are sealed under is not in this ring; another replica's may have it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a secret belongs: it is authenticated, so sealed bytes do not open in another row."""

    organization: str
    kind: str
    id: str
    version: int

    def bound(self, purpose: str) -> bytes:
        """Give the additional authenticated data; no part can hold the separator."""
        return f"{purpose}|{self.organization}|{self.kind}|{self.id}|{self.version}".encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRing:
    """The keys that data keys are sealed under: the primary seals, each opens what it sealed."""

    primary: str
    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """Read `{"primary": "k1", "keys": {"k1": "<32 bytes in base64>"}}`.

        Raises:
            SealingError: the text is something else. No key is shown.
        """
        try:
            ring = json.loads(text)
            keys = {
                name: base64.b64decode(key, validate=True) for name, key in ring["keys"].items()
            }
            primary = str(ring["primary"])
        except (ValueError, TypeError, KeyError, AttributeError):
            raise SealingError("the key ring has another form than documented") from None
        if primary not in keys:
            raise SealingError("the primary key of the key ring is not among its keys")
        for name, key in keys.items():
            if len(key) != _KEY or not 0 < len(name.encode()) < 256:
                raise SealingError(f"the key {name!r} of the key ring is not {_KEY} bytes long")
        return cls(primary=primary, keys=keys)

    def seal(self, plain: bytes, place: Place) -> bytes:
        """Seal bytes for one place, under a new data key.

        The result is: format, length and name of the ring's key, the sealed data key, the sealed
        bytes; both sealed with AES-256-GCM, nonce first.
        """
        data_key = AESGCM.generate_key(256)
        return self._wrap(data_key, place) + _encrypt(data_key, plain, place.bound("data"))

    def open(self, sealed: bytes, place: Place) -> bytes:
        """Open what was sealed for this place.

        Raises:
            KeyMissing: the ring lacks the key.
            SealingError: the place is another, or a byte was altered.
        """
        data_key, data = self._unwrap(sealed, place)
        return _decrypt(data_key, data, place.bound("data"))

    def renew(self, sealed: bytes, place: Place) -> bytes:
        """Seal the data key anew, under the primary key; what it seals is not opened.

        Raises:
            KeyMissing: the ring lacks the key.
            SealingError: the place is another, or a byte of the data key was altered.
        """
        data_key, data = self._unwrap(sealed, place)
        return self._wrap(data_key, place) + data

    def _wrap(self, data_key: bytes, place: Place) -> bytes:
        name = self.primary.encode()
        header = bytes((_FORMAT, len(name))) + name
        return header + _encrypt(self.keys[self.primary], data_key, place.bound("key"))

    def _unwrap(self, sealed: bytes, place: Place) -> tuple[bytes, bytes]:
        if len(sealed) < 2 or sealed[0] != _FORMAT:
            raise SealingError("sealed bytes of an unknown format")
        start = 2 + sealed[1]
        name = sealed[2:start].decode(errors="replace")
        key = self.keys.get(name)
        if key is None:
            raise KeyMissing(f"sealed under the key {name!r}, which is not in the key ring")
        data_key = _decrypt(key, sealed[start : start + _WRAPPED], place.bound("key"))
        return data_key, sealed[start + _WRAPPED :]


def sealed_under(sealed: bytes) -> str:
    """Tell the name of the ring's key that sealed bytes lie under."""
    return sealed[2 : 2 + sealed[1]].decode()


def _encrypt(key: bytes, plain: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound)


def _decrypt(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    if len(sealed) < _NONCE + _TAG:
        raise SealingError("sealed bytes are cut short")
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)
    except InvalidTag:
        raise SealingError("sealed bytes do not belong here or were altered") from None
