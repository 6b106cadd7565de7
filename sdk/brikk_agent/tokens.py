"""Who may call an agent: the token that the workflow service mints for exactly this instance."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.request import urlopen

import grpc
import jwt

from brikk_agent.errors import AgentError

log = logging.getLogger(__name__)

_ALGORITHMS = ["EdDSA"]
# Tolerated difference between the clocks of the issuer and this machine.
_LEEWAY_SECONDS = 10.0
# A withdrawn key is trusted no longer than this, and a cached token no longer than that.
_KEYS_MAX_AGE_SECONDS = 300.0
_TOKEN_CACHE_SECONDS = 60.0
# An unknown kid may be a new key, but strangers must not make us fetch keys all day.
_KEYS_MIN_AGE_SECONDS = 2.0
_FETCH_TIMEOUT_SECONDS = 5.0
_DOCUMENT_LIMIT = 1 << 20
_CACHED_TOKENS = 256


class CallTokens:
    """Checks the bearer token of each call: an unexpired EdDSA token for this audience.

    `jwks` is the path or http(s) URL of the issuer's keys. They are read at the first call, again
    for an unknown key id (at most every 2 s), and at least every 5 minutes. A token that passed is
    remembered until it expires, 60 s at most: a check costs a third of a whole call.
    """

    def __init__(
        self, jwks: str, audience: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._jwks = jwks
        self._audience = audience
        self._monotonic = monotonic
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried_at = float("-inf")
        self._reading = asyncio.Lock()
        # Until when a token is trusted, and when it expires.
        self._passed: dict[str, tuple[float, float]] = {}

    async def check(self, metadata: Iterable[tuple[str, str | bytes]]) -> float:
        """Gives how many seconds the token of the call's metadata holds, which may call this agent.

        Raises AgentError UNAUTHENTICATED when it does not, UNAVAILABLE when the keys cannot be
        read.
        """
        authorization = next((value for key, value in metadata if key == "authorization"), "")
        token = str(authorization).removeprefix("Bearer ")
        if not token or token == authorization:
            raise _refused("TOKEN_MISSING", "The call carries no bearer token")
        now = self._monotonic()
        trusted_until, expires_at = self._passed.get(token, (0.0, 0.0))
        if trusted_until <= now:
            lifetime = await self._verify(token)
            expires_at = now + lifetime
            if len(self._passed) >= _CACHED_TOKENS:
                self._passed.clear()
            self._passed[token] = now + min(lifetime, _TOKEN_CACHE_SECONDS), expires_at
        return expires_at - now

    async def _verify(self, token: str) -> float:
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid", ""))
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=self._audience,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["aud", "exp"]},
            )
        except jwt.PyJWTError as error:
            raise _refused("TOKEN_INVALID", f"The token is refused: {error}") from error
        return float(claims["exp"]) - time.time()

    async def _key(self, kid: str) -> jwt.PyJWK:
        async with self._reading:
            age = self._monotonic() - self._tried_at
            unknown = kid not in self._keys
            if age >= _KEYS_MAX_AGE_SECONDS or (unknown and age >= _KEYS_MIN_AGE_SECONDS):
                self._tried_at = self._monotonic()
                await self._read_keys()
        if not self._keys:
            raise AgentError(
                "KEYS_UNAVAILABLE",
                "The agent cannot read the keys that calls are signed with",
                retryable=True,
                code=grpc.StatusCode.UNAVAILABLE,
            )
        if kid not in self._keys:
            # Perhaps the key is newer than the last reading: another attempt may find it.
            raise _refused("TOKEN_INVALID", "The token's key is unknown", retryable=True)
        return self._keys[kid]

    async def _read_keys(self) -> None:
        try:
            found = await asyncio.to_thread(_read, self._jwks)
        except (OSError, ValueError, jwt.PyJWTError) as error:
            # The keys of before stay: they are better than refusing everyone.
            log.warning("The call keys cannot be read from %s: %s", self._jwks, error)
            return
        self._keys = {key.key_id: key for key in found.keys if key.key_id}
        self._passed.clear()


def _read(location: str) -> jwt.PyJWKSet:
    if location.startswith(("http://", "https://")):
        with urlopen(location, timeout=_FETCH_TIMEOUT_SECONDS) as answer:  # noqa: S310
            text = answer.read(_DOCUMENT_LIMIT)
    else:
        text = Path(location).read_bytes()
    document = json.loads(text)
    if not isinstance(document, dict):
        raise jwt.PyJWKSetError("not a JSON object")
    return jwt.PyJWKSet.from_dict(document)


def _refused(reason: str, message: str, *, retryable: bool = False) -> AgentError:
    return AgentError(reason, message, retryable=retryable, code=grpc.StatusCode.UNAUTHENTICATED)
