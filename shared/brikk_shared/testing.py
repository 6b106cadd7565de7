"""What tests of every service need: a clock they move, and tokens of any caller."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from brikk_shared.clock import Clock, SystemClock
from brikk_shared.identity import INTERNAL_SCOPE, IssuerSettings
from brikk_shared.metadata import AUTHORIZATION_KEY, ORGANIZATION_KEY
from brikk_shared.signing import TokenSigner, create_signing_key

USERS_ISSUER = "https://users.test.brikk.dev"
SERVICES_ISSUER = "https://services.test.brikk.dev"


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._elapsed = timedelta(0)
        self._order = itertools.count()
        self._sleepers: list[tuple[timedelta, int, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    def now(self) -> datetime:
        """The time of day."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that the clock was moved forward."""
        return self._elapsed.total_seconds()

    def advance(self, duration: timedelta) -> None:
        """Move the clock forward and wake those whose time has come, in order."""
        self._now += duration
        self._elapsed += duration
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)

    def jump(self, duration: timedelta) -> None:
        """Set the time of day forward or back, as an administrator does; nobody wakes."""
        self._now += duration

    async def sleep(self, duration: timedelta) -> None:
        """Wait until the clock was moved far enough."""
        if duration <= timedelta(0):
            await asyncio.sleep(0)
            return
        sleeper = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + duration, next(self._order), sleeper))
        self._changed.set()
        await sleeper

    @property
    def sleepers(self) -> int:
        """How many sleep on this clock."""
        return sum(not sleeper.done() for _, _, sleeper in self._sleepers)

    async def sleeping(self, count: int = 1) -> None:
        """Wait until so many sleep on this clock, so that moving it wakes them."""
        while self.sleepers < count:
            self._changed.clear()
            await self._changed.wait()


class Tokens:
    """Issuers that services under test trust, and the tokens they issue."""

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        """Writes the keys into `folder`."""
        clock = clock or SystemClock()
        self.users_key = folder / "users.key.json"
        self.service_key = folder / "services.key.json"
        create_signing_key(self.users_key, USERS_ISSUER)
        create_signing_key(self.service_key, SERVICES_ISSUER)
        self.users = TokenSigner.from_file(self.users_key, clock=clock)
        self.services = TokenSigner.from_file(self.service_key, clock=clock)
        self.issuers = [
            IssuerSettings(
                issuer=USERS_ISSUER,
                jwks=_write_jwks(folder / "users.jwks.json", self.users),
                organizations=["*"],
            ),
            IssuerSettings(
                issuer=SERVICES_ISSUER,
                jwks=_write_jwks(folder / "services.jwks.json", self.services),
                internal=True,
            ),
        ]

    def user(
        self,
        organization: str,
        *scopes: str,
        subject: str = "users/tester",
        audience: str = "brikk",
        lifetime: timedelta = timedelta(hours=1),
    ) -> str:
        """A token of a person or an agent of an organisation."""
        return self.users.mint(
            subject=subject,
            scopes=scopes,
            audience=audience,
            lifetime=lifetime,
            organization=organization,
        )

    def internal(
        self,
        *scopes: str,
        subject: str = "services/tester",
        audience: str = "brikk",
        lifetime: timedelta = timedelta(minutes=5),
    ) -> str:
        """A token of a service. The scope `internal` is always in it."""
        return self.services.mint(
            subject=subject, scopes={INTERNAL_SCOPE, *scopes}, audience=audience, lifetime=lifetime
        )


def bearer(token: str, organization: str = "") -> tuple[tuple[str, str], ...]:
    """Call metadata with the token, and for services the organisation they act for."""
    metadata = ((AUTHORIZATION_KEY, f"Bearer {token}"),)
    return (*metadata, (ORGANIZATION_KEY, organization)) if organization else metadata


def _write_jwks(path: Path, signer: TokenSigner) -> str:
    path.write_text(json.dumps(signer.jwks()))
    return str(path)
