"""The sweep that ends the leases of those who fell silent; one replica does it for all."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.clients.events import Announcer
from brikk_discovery.domain.agent import AgentKey, Doubt
from brikk_discovery.domain.fact import Fact, FactType
from brikk_discovery.domain.terms import Terms
from brikk_discovery.runtime.beats import Beats
from brikk_discovery.runtime.doubts import Doubts
from brikk_discovery.runtime.losses import Losses
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.pace import Pace
from brikk_discovery.runtime.probes import Probes
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.store.agents import AgentStore
from brikk_discovery.store.removals import RemovalStore
from brikk_discovery.store.standings import Standing, StandingStore
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable
from brikk_shared.leases import Lease, Leases

_log = structlog.stdlib.get_logger(__name__)

_LEASE: Final = timedelta(seconds=5)
# So many removals in a transaction: whoever registers waits for it.
_BATCH: Final = 500
# A lease is extended without a heartbeat so many times in a row: a registry that restarts again and
# again must not keep the dead for ever.
_GRACES: Final = 2
_TIDY_INTERVAL: Final = timedelta(minutes=1)
_REMOVALS_KEPT: Final = timedelta(hours=1)


class Expiry:
    """Suspects agents, and removes them by the store's clock, a grace after their leases ended.

    Whenever heartbeats may have found nobody who listens (before this process began to sweep, or
    while it stood still), every lease that may have missed one lasts its duration once more, so
    that the living can be heard again. Silence is told by the lease's end as well: whoever was
    granted time, or longer intervals, is not suspected early either.

    Args:
        terms: the intervals while they are not stretched.
        interval: how long to wait between sweeps.
    """

    def __init__(
        self,
        *,
        database: Database,
        leases: Leases,
        store: AgentStore,
        standings: StandingStore,
        removals: RemovalStore,
        registry: Registry[object],
        beats: Beats,
        probes: Probes,
        doubts: Doubts,
        losses: Losses,
        announcer: Announcer,
        terms: Terms,
        pace: Pace,
        interval: timedelta,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._leases = leases
        self._store = store
        self._standings = standings
        self._removals = removals
        self._registry = registry
        self._beats = beats
        self._probes = probes
        self._doubts = doubts
        self._losses = losses
        self._announcer = announcer
        self._terms = terms
        self._pace = pace
        self._interval = interval
        self._clock = clock
        self._expired = metrics.expired
        self._sweeps = metrics.sweeps
        self._late = metrics.late_sweeps
        # By the store's clock, and of the term under way: when the last sweep was, and tidied up.
        self._swept: datetime | None = None
        self._tidied: datetime | None = None

    async def run(self) -> None:
        """Sweep while this process holds the lease, until cancelled."""
        await self._leases.hold("expiry", _LEASE, self._sweep)

    async def _sweep(self, lease: Lease) -> None:
        self._swept = self._tidied = None
        try:
            while True:
                more = False
                try:
                    more = await self._round(lease)
                except Unavailable as error:
                    _log.warning("sweep_waits", error=error.message)
                if not more:
                    await self._clock.sleep(self._interval)
        finally:
            self._losses.clear()
            self._probes.rest()

    async def _round(self, lease: Lease) -> bool:
        """Sweep once; True when more is to be done than a transaction should hold."""
        # Our own heartbeats first: the store would take them for missing.
        await self._beats.checkpoint()
        async with self._database.transaction() as connection:
            await self._leases.assert_held(connection, lease)
            _, now = await self._store.advance(connection)
            until = now + self._pace.terms.expire_after
            granted = await self._grant_time(connection, now, until)
            ended = now - self._terms.grace
            patience = self._terms.expire_after - self._terms.suspect_after
            silent = await self._standings.ending(connection, ended + patience)
            changed, more = await self._doubts.settle(connection, silent, now)
            due = [item for item in silent if item.expire_time < ended]
            sizes = await self._store.count(
                connection, {*self._losses.organizations, *(item.key.organization for item in due)}
            )
            unreachable = await self._tidy(connection, now)
        self._swept = now
        self._sweeps.inc()
        self._registry.extend(granted, until)
        for agent in changed:
            self._registry.put(agent)
        removed = iter(self._losses.choose(silent, due, sizes, now))
        while batch := list(islice(removed, _BATCH)):
            await self._remove(lease, batch)
        self._probes.recall(item.key for item in unreachable)
        if not more:  # what probes have shown is forgotten then, where the doubt is over
            self._probes.ask(item.key for item in silent)
        return more

    async def _grant_time(
        self, connection: AsyncConnection, now: datetime, until: datetime
    ) -> list[AgentKey]:
        """Extend the leases of those who may have beaten when nobody listened."""
        granted: list[AgentKey] = []
        if self._swept is None or now < self._swept:
            granted = await self._standings.bring_back(connection, now, until)
        if self._swept is not None:
            if now - self._swept <= self._interval + self._terms.heartbeat_interval:
                return granted
            self._late.inc()
        # Whoever was heard within a heartbeat's interval has missed none.
        overdue = now - self._terms.heartbeat_interval
        granted += await self._standings.extend(
            connection, until, unheard_since=overdue, at_most=_GRACES
        )
        return granted

    async def _remove(self, lease: Lease, keys: Collection[AgentKey]) -> None:
        """Remove those of these agents who were not heard meanwhile."""
        async with self._database.transaction() as connection:
            await self._leases.assert_held(connection, lease)
            _, now = await self._store.advance(connection)
            ended = now - self._terms.grace
            found = await self._store.read(connection, keys)
            expired = [agent for agent in found.values() if agent.expire_time < ended]
            last, _ = await self._store.advance(connection, len(expired))
            facts = [
                Fact(type=FactType.EXPIRED, agent=agent, revision=revision, time=now)
                for revision, agent in enumerate(expired, start=last - len(expired) + 1)
            ]
            removals = {fact.agent.key: fact.revision for fact in facts}
            await self._store.delete(connection, removals)
            await self._removals.add(connection, removals, now)
            # Who expires and comes back has fallen deeper than who was only silent.
            await self._doubts.penalise(connection, list(removals), now)
            await self._announcer.add(connection, facts)
        for key, revision in removals.items():
            self._registry.remove(key, revision)
        self._expired.inc(len(expired))
        self._announcer.wake()

    async def _tidy(self, connection: AsyncConnection, now: datetime) -> list[Standing]:
        """Forget what is too old to matter, once in a while; find who still cannot be reached."""
        if self._tidied is not None and abs(now - self._tidied) < _TIDY_INTERVAL:
            return []
        self._tidied = now
        await self._removals.forget(connection, now - _REMOVALS_KEPT)
        await self._doubts.forget(connection, now)
        return await self._standings.doubted(connection, Doubt.UNREACHABLE)
