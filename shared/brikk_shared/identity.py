"""Who calls: tokens checked against the issuers we trust."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import jwt
from pydantic import BaseModel, ConfigDict, Field

from brikk_shared.clock import Clock
from brikk_shared.errors import Reason, Unauthenticated
from brikk_shared.jwks import key_source

INTERNAL_SCOPE = "internal"
"""The scope of services. Honoured from internal issuers only."""

SYSTEM_ORGANIZATION = "system"
"""Under which the services report what they need themselves; nobody else's."""

_CACHE_TIME = timedelta(seconds=60)
_CACHE_SIZE = 10_000
_CLOCK_SKEW = timedelta(seconds=5)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_MAX_TOKEN = 8_192
_MAX_SUBJECT = 256
_ORGANIZATION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class IssuerSettings(BaseModel):
    """An issuer of tokens that a service accepts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(description="The `iss` of its tokens.")
    jwks: str = Field(description="Its public keys: path of a JWKS file, or an http(s) URL.")
    organizations: list[str] = Field(
        default_factory=list, description='The organisations it may speak for; `["*"]` for all.'
    )
    internal: bool = Field(
        default=False,
        description="Whether it issues the tokens of services, which act for any organisation.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """A caller whose token was verified."""

    subject: str
    organization: str
    """Empty for a service that does not act for one."""
    scopes: frozenset[str]
    internal: bool = False
    expire_time: datetime | None = field(default=None, compare=False)
    """When the token ceases to hold; a newer token's caller is the same one."""

    def allows(self, scope: str) -> bool:
        """Whether the token carries the scope; `webhook.*` covers `webhook.read`."""
        if scope in self.scopes:
            return True
        area, dot, _ = scope.rpartition(".")
        return bool(dot) and f"{area}.*" in self.scopes

    def acting_for(self, organization: str) -> Identity:
        """The same service, acting for an organisation."""
        return replace(self, organization=organization)


def is_organization(name: str) -> bool:
    """Whether it can be the name of an organisation: a DNS label."""
    return _ORGANIZATION.fullmatch(name) is not None


class TokenVerifier:
    """Verifies bearer tokens and remembers the verdict: a check costs as much as half a call.

    A verdict is kept for a minute at most, never past the token's expiry, and not when an
    issuer's keys change.
    """

    def __init__(self, issuers: Sequence[IssuerSettings], *, audience: str, clock: Clock) -> None:
        self._issuers = {each.issuer: each for each in issuers}
        self._keys = {
            each.issuer: key_source(each.jwks, clock=clock, changed=self._forget)
            for each in issuers
        }
        self._audience = audience
        self._clock = clock
        self._verified: OrderedDict[str, tuple[Identity, float]] = OrderedDict()

    async def start(self) -> None:
        """Load the issuers' keys. OSError or ValueError when a file cannot be used."""
        for keys in self._keys.values():
            await keys.load()

    async def verify(self, token: str) -> Identity:
        """The identity behind a token. Unauthenticated when it is not valid here and now."""
        if len(token) > _MAX_TOKEN or not token.isascii():
            raise _invalid("is not a JSON Web Token")
        now = self._clock.now().timestamp()
        if (known := self._verified.get(token)) is not None and now < known[1]:
            return known[0]
        identity, expiry = await self._check(token, now)
        self._verified[token] = (identity, min(expiry, now + _CACHE_TIME.total_seconds()))
        self._verified.move_to_end(token)
        while len(self._verified) > _CACHE_SIZE:
            self._verified.popitem(last=False)
        return identity

    async def _check(self, token: str, now: float) -> tuple[Identity, float]:
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, RecursionError):  # JSON nested as deeply as a token is long
            raise _invalid("is not a JSON Web Token") from None
        issuer, kid = unverified.get("iss"), header.get("kid")
        settings = self._issuers.get(issuer) if isinstance(issuer, str) else None
        if settings is None:
            raise _invalid("comes from an unknown issuer")
        if not isinstance(kid, str):
            raise _invalid("does not name its key")
        key = await self._keys[settings.issuer].find(kid)
        if key is None:
            raise _invalid("is signed with an unknown key")
        try:
            # The algorithm is the key's own, so the token's header cannot choose a weaker one.
            # Times are checked below, by our clock.
            claims = jwt.decode(
                token,
                key=key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=settings.issuer,
                options={
                    "require": ["iss", "sub", "aud", "exp"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidAudienceError:
            raise _invalid("is not meant for this service") from None
        except jwt.PyJWTError:
            raise _invalid("does not hold") from None
        expiry = _check_times(claims, now)
        identity = _identity(claims, settings)
        return replace(identity, expire_time=datetime.fromtimestamp(expiry, UTC)), expiry

    def _forget(self) -> None:
        self._verified.clear()


def _check_times(claims: Mapping[str, object], now: float) -> float:
    expiry, not_before = claims["exp"], claims.get("nbf", 0)
    if not isinstance(expiry, (int, float)) or not isinstance(not_before, (int, float)):
        raise _invalid("has times that are not numbers")
    if not now < expiry:  # which a NaN is not either
        raise _invalid("has expired")
    if now + _CLOCK_SKEW.total_seconds() < not_before:
        raise _invalid("is not valid yet")
    return min(expiry, _LATEST)


def _identity(claims: Mapping[str, object], issuer: IssuerSettings) -> Identity:
    subject, scope, organization = claims["sub"], claims.get("scope", ""), claims.get("org", "")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT or "\0" in subject:
        raise _invalid("has no usable subject")
    if not isinstance(scope, str) or not isinstance(organization, str):
        raise _invalid("has claims of the wrong type")
    scopes = frozenset(scope.split())
    if issuer.internal:
        if organization or INTERNAL_SCOPE not in scopes:
            raise _invalid("is not the token of a service")
        return Identity(subject=subject, organization="", scopes=scopes, internal=True)
    if not is_organization(organization):
        raise _invalid("names no organisation")
    if "*" not in issuer.organizations and organization not in issuer.organizations:
        raise _invalid("comes from an issuer that may not speak for its organisation")
    return Identity(
        subject=subject, organization=organization, scopes=scopes - {INTERNAL_SCOPE, "*"}
    )


def _invalid(what: str) -> Unauthenticated:
    return Unauthenticated(Reason.TOKEN_INVALID, f"the bearer token {what}")
