"""The sweep that removes agents whose heartbeats are missing; one replica does it for all."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.clients.events import Announcer
from brikk_discovery.domain.agent import Agent, AgentKey
from brikk_discovery.domain.fact import Fact, FactType
from brikk_discovery.domain.lease import Terms
from brikk_discovery.runtime.beats import Beats
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.store.agents import AgentStore
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable
from brikk_shared.leases import Lease, Leases

_log = structlog.stdlib.get_logger(__name__)

_LEASE: Final = timedelta(seconds=5)
_BATCH: Final = 500
# A lease is extended without a heartbeat so many times in a row: a registry that restarts again and
# again must not keep the dead for ever.
_GRACES: Final = 2


class Expiry:
    """Removes agents by the store's clock, a grace after their leases ended.

    Whenever heartbeats may have found nobody who listens (before this process began to sweep, or
    while it stood still), every lease that may have missed one lasts its duration once more, so
    that the living can be heard again.
    """

    def __init__(
        self,
        *,
        database: Database,
        leases: Leases,
        store: AgentStore,
        registry: Registry[object],
        beats: Beats,
        announcer: Announcer,
        terms: Terms,
        interval: timedelta,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._leases = leases
        self._store = store
        self._registry = registry
        self._beats = beats
        self._announcer = announcer
        self._terms = terms
        self._interval = interval
        self._clock = clock
        self._expired = metrics.expired

    async def run(self) -> None:
        """Sweep while this process holds the lease, until cancelled."""
        await self._leases.hold("expiry", _LEASE, self._sweep)

    async def _sweep(self, lease: Lease) -> None:
        swept: datetime | None = None
        while True:
            removed = 0
            try:
                swept, removed = await self._round(lease, swept)
            except Unavailable as error:
                _log.warning("sweep_waits", error=error.message)
            if removed < _BATCH:
                await self._clock.sleep(self._interval)

    async def _round(self, lease: Lease, swept: datetime | None) -> tuple[datetime, int]:
        # Our own heartbeats first: the store would take them for missing.
        await self._beats.checkpoint()
        async with self._database.transaction() as connection:
            await self._leases.assert_held(connection, lease)
            _, now = await self._store.advance(connection)
            until = now + self._terms.expire_after
            extended: list[AgentKey] = []
            if swept is None or now - swept > self._interval + self._terms.heartbeat_interval:
                # Whoever was heard within a heartbeat's interval has missed none.
                overdue = now - self._terms.heartbeat_interval
                extended = await self._store.extend(
                    connection, until, unheard_since=overdue, at_most=_GRACES
                )
            expired = await self._expire(connection, now)
        self._registry.extend(extended, until)
        for agent in expired:
            self._registry.remove(agent.key)
        self._expired.inc(len(expired))
        self._announcer.wake()
        return now, len(expired)

    async def _expire(self, connection: AsyncConnection, now: datetime) -> list[Agent]:
        before = now - self._terms.grace
        expired = await self._store.take_expired(connection, before=before, limit=_BATCH)
        if expired:
            last, _ = await self._store.advance(connection, len(expired))
            facts = [
                Fact(type=FactType.EXPIRED, agent=agent, revision=revision, time=now)
                for revision, agent in enumerate(expired, start=last - len(expired) + 1)
            ]
            await self._announcer.add(connection, facts)
        return expired
