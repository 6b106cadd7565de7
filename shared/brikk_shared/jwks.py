"""Public keys of an issuer, from a file or a URL, read again when they change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import aiohttp
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from brikk_shared.clock import Clock

_FETCH_TIMEOUT = timedelta(seconds=5)
_FETCH_PAUSE = timedelta(seconds=10)
"""Shortest time between two fetches, so that tokens with made-up keys do not hammer the issuer."""
_FETCH_AGE = timedelta(minutes=5)
"""Keys older than this are fetched again, so that a key the issuer withdrew ends here too."""
_MIN_RSA_BITS = 2048

# Type and curve of a key fix its algorithm. Symmetric keys have no place in a JWKS.
_ALGORITHMS: Mapping[tuple[object, object], str] = {
    ("OKP", "Ed25519"): "EdDSA",
    ("EC", "P-256"): "ES256",
    ("RSA", None): "RS256",
}

_log = structlog.stdlib.get_logger(__name__)

Keys = dict[str, jwt.PyJWK]


class KeySource(Protocol):
    """Where the keys of one issuer come from."""

    async def load(self) -> None:
        """Read the keys for the first time."""

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key with this id, or None when the issuer has none."""


def key_source(location: str, *, clock: Clock, changed: Callable[[], None]) -> KeySource:
    """The source for a path or an http(s) URL. `changed` is called when other keys were read."""
    if location.startswith(("http://", "https://")):
        return RemoteKeys(location, clock=clock, changed=changed)
    return FileKeys(Path(location), changed=changed)


class FileKeys:
    """Keys in a JWKS file, read again once the file is another."""

    def __init__(self, path: Path, *, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self._keys: Keys = {}
        self._version: tuple[int, ...] = ()

    async def load(self) -> None:
        """Read the file. OSError or ValueError when it cannot be used."""
        self._read()

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key with this id. A file that broke leaves the keys as they were."""
        try:
            self._read()
        except (OSError, ValueError) as error:
            _log.warning("jwks_not_read", error=str(error))
        return self._keys.get(kid)

    def _read(self) -> None:
        found = self._path.stat()
        version = (found.st_mtime_ns, found.st_size, found.st_ino)
        if version != self._version:
            try:
                self._keys = parse_jwks(self._path.read_bytes())
            except ValueError as error:
                raise ValueError(f"{self._path}: {error}") from error
            self._version = version
            self._changed()


class RemoteKeys:
    """Keys that an issuer publishes at a URL."""

    def __init__(self, url: str, *, clock: Clock, changed: Callable[[], None]) -> None:
        self._url = url
        self._clock = clock
        self._changed = changed
        self._keys: Keys = {}
        self._content = b""
        self._fetched_at: float | None = None
        self._fetching = asyncio.Lock()

    async def load(self) -> None:
        """Fetch the keys. An issuer that does not answer yet is asked again by the next token."""
        await self._fetch()

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key with this id, after a fetch when it is unknown or the keys are old."""
        if self._is_due(kid):
            async with self._fetching:
                if self._is_due(kid):  # unless another call fetched meanwhile
                    await self._fetch()
        return self._keys.get(kid)

    def _is_due(self, kid: str) -> bool:
        if self._fetched_at is None:
            return True
        patience = _FETCH_AGE if kid in self._keys else _FETCH_PAUSE
        return self._clock.monotonic() - self._fetched_at >= patience.total_seconds()

    async def _fetch(self) -> None:
        self._fetched_at = self._clock.monotonic()
        timeout = aiohttp.ClientTimeout(total=_FETCH_TIMEOUT.total_seconds())
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._url, raise_for_status=True) as response,
            ):
                content = await response.read()
            if content != self._content:
                self._keys, self._content = parse_jwks(content), content
                self._changed()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            _log.warning("jwks_not_fetched", url=self._url, error=str(error))


def parse_jwks(content: bytes) -> Keys:
    """The usable signature keys of a JWKS by id. ValueError when it is not one."""
    document = json.loads(content)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("it has no list of keys")  # noqa: TRY004 - its content is wrong, not its type
    keys = (_parse_key(entry) for entry in entries if isinstance(entry, dict))
    return {key.key_id: key for key in keys if key is not None and key.key_id is not None}


def _parse_key(entry: Mapping[str, object]) -> jwt.PyJWK | None:
    algorithm = _ALGORITHMS.get((entry.get("kty"), entry.get("crv")))
    if algorithm is None or not isinstance(entry.get("kid"), str):
        return None
    if entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(dict(entry), algorithm=algorithm)
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        raise ValueError(f"key {entry['kid']} cannot be used: {error}") from error
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < _MIN_RSA_BITS:
        raise ValueError(f"key {entry['kid']} has fewer than {_MIN_RSA_BITS} bits")
    return key
