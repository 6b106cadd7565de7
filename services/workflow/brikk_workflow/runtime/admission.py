"""Gives executions their places: at once where there is room, else in turn as places free up.

To count an organisation's executions at each start would cost each start a lock. So a replica asks
for a permit to give away a part of the free places, and counts those in memory; near the limit a
permit is for one place. Workflows with a limit of their own always queue: there is one way in.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from brikk_shared.errors import Unavailable
from brikk_workflow.domain.admission import turns
from brikk_workflow.runtime.claims import Claims
from brikk_workflow.runtime.engine import Engine
from brikk_workflow.runtime.residents import Residents
from brikk_workflow.runtime.run import Run
from brikk_workflow.store.admission import (
    admit,
    renew_permit,
    return_permit,
    waiting_organizations,
)
from brikk_workflow.store.loading import load

log = structlog.get_logger()

BATCH = 100
"""Most executions of an organisation that get a place at once."""


@dataclass(kw_only=True, slots=True, eq=False)
class _Permit:
    left: int = 0
    given: int = 0
    """Places given to executions that are not committed yet."""
    exhausted: bool = False
    """Nothing was free when it was asked for: newcomers queue behind those that wait."""
    stored: bool = False
    """Whether the store may count it: an answer that got lost leaves that open."""
    used: bool = False
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Admission:
    """The places that a replica gives away, at most `max_running` per organisation over all.

    Args:
        interval: how often it looks for places that freed up elsewhere.
    """

    def __init__(
        self,
        engine: Engine,
        residents: Residents,
        claims: Claims,
        *,
        max_running: int,
        interval: timedelta,
    ) -> None:
        self._engine = engine
        self._residents = residents
        self._claims = claims
        self._max_running = max_running
        self._interval = interval
        self._live = False
        self._permits: defaultdict[str, _Permit] = defaultdict(_Permit)
        self._waiting: set[str] = set()
        self._last = ""
        self._return_at = 0.0
        self._news = asyncio.Event()

    async def take(self, organization: str) -> bool:
        """Takes a place for an execution about to be committed; False: it has to queue.

        Who took one calls `committed` after the commit.
        """
        permit = self._permits[organization]
        if not permit.left and not permit.exhausted and self._live:
            await self._renew(organization, permit, 1)
        if not permit.left or not self._live:
            return False
        permit.left -= 1
        permit.given += 1
        permit.used = True
        return True

    def committed(self, organization: str) -> None:
        """An execution that took a place was committed, or was not and never will be."""
        self._permits[organization].given -= 1

    def queued(self, organization: str) -> None:
        """An execution waits for a place."""
        self._waiting.add(organization)
        self._news.set()

    def ended(self, run: Run) -> None:
        """An execution may have given a place back that others wait for."""
        if self._waiting:
            organization = run.record.organization
            if organization in self._waiting and (
                run.limited or self._permits[organization].exhausted
            ):
                self._news.set()

    async def run(self) -> None:
        """Admits while the replica is live: at once when a place was freed here, else in turn.

        Permits of an earlier time hold no more.
        """
        for permit in self._permits.values():
            permit.left = 0
        self._live = True
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._interval.total_seconds()):
                        await self._news.wait()
                self._news.clear()
                await self._admit()
        finally:
            self._live = False

    async def _admit(self) -> None:
        try:
            now = self._engine.clock.monotonic()
            if now >= self._return_at:
                self._return_at = now + self._interval.total_seconds()
                await self._return_unused()
            await self._admit_in_turns()
        except Unavailable as error:
            log.warning("store does not answer", reason=error.reason)

    async def _admit_in_turns(self) -> None:
        async with self._engine.database.reading() as connection:
            self._waiting = set(await waiting_organizations(connection))
        for organization, share in turns(list(self._waiting), self._residents.free, self._last):
            self._last = organization
            places = min(share, self._residents.free, BATCH)
            if places > 0 and await self._admit_some(organization, places) == places:
                # More may wait than had their turn.
                self._news.set()

    async def _admit_some(self, organization: str, wanted: int) -> int:
        permit = self._permits[organization]
        if not permit.left:
            await self._renew(organization, permit, wanted)
        places = min(permit.left, wanted)
        if not places:
            return 0
        permit.left -= places
        permit.given += places
        permit.used = True
        taken: Sequence[str] = ()
        engine = self._engine
        try:
            with self._residents.expecting(places):
                async with engine.database.transaction() as connection:
                    taken = await admit(
                        connection, engine.database, organization, engine.replica, places=places
                    )
                    found = await load(connection, taken) if taken else ()
                await self._claims.take_in(found)
        finally:
            permit.given -= places
        permit.left += places - len(taken)
        engine.metrics.admissions.labels("admitted").inc(len(taken))
        return len(taken)

    async def _renew(self, organization: str, permit: _Permit, wanted: int) -> None:
        async with permit.asking:
            if permit.left:
                return
            given, permit.stored = permit.given, True
            async with self._engine.database.transaction() as connection:
                left = await renew_permit(
                    connection,
                    self._engine.database,
                    organization,
                    self._engine.replica,
                    given=given,
                    wanted=wanted,
                    max_running=self._max_running,
                )
            permit.left, permit.exhausted = left, not left

    async def _return_unused(self) -> None:
        """Gives back the permits that were not used since the last time: others may need them."""
        for organization, permit in list(self._permits.items()):
            if permit.used or not permit.stored or permit.asking.locked():
                permit.used = False
                continue
            async with permit.asking, self._engine.database.transaction() as connection:
                permit.left, given = 0, permit.given
                await return_permit(connection, organization, self._engine.replica, given=given)
            permit.stored = given > 0
