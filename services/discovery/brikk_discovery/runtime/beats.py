"""Heartbeats: gathered in memory, written to the store together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from brikk_discovery.domain.agent import AgentKey, Load
from brikk_discovery.domain.lease import Terms
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.store.agents import AgentStore, Renewal
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Beat:
    epoch: int
    load: Load
    moment: float


class Beats:
    """Takes heartbeats at once, and writes them within a checkpoint's interval, in one statement.

    So thousands of agents cost a transaction a second. What a crash takes with it is covered by the
    grace that leases get after a restart.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: AgentStore,
        registry: Registry[object],
        terms: Terms,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._store = store
        self._registry = registry
        self._terms = terms
        self._clock = clock
        self._renewed = metrics.beats.labels("renewed")
        self._refused = metrics.beats.labels("refused")
        self._pending: dict[AgentKey, _Beat] = {}
        self._arrived = asyncio.Event()

    def take(self, key: AgentKey, epoch: int, load: Load) -> bool:
        """Renew a lease; False when the agent does not hold it."""
        if not self._registry.beat(key, epoch, load):
            self._refused.inc()
            return False
        self._pending[key] = _Beat(epoch=epoch, load=load, moment=self._clock.monotonic())
        self._arrived.set()
        self._renewed.inc()
        return True

    async def run(self) -> None:
        """Write what has gathered, once in each interval, until cancelled."""
        while True:
            await self._arrived.wait()
            await self._clock.sleep(self._terms.checkpoint_interval)
            try:
                await self.checkpoint()
            except Unavailable as error:
                _log.warning("beats_wait", agents=len(self._pending), error=error.message)

    async def checkpoint(self) -> None:
        """Write what has gathered. When that fails, all of it is still there.

        Raises:
            Unavailable: the store does not answer.
        """
        batch = dict(self._pending)
        if batch:
            async with self._database.transaction() as connection:
                _, now = await self._store.advance(connection)
                await self._store.renew(connection, self._renewals(batch, now))
        for key, beat in batch.items():
            # Another one may have come meanwhile: that one is still to be written.
            if self._pending.get(key) is beat:
                del self._pending[key]
        if not self._pending:
            self._arrived.clear()

    def _renewals(self, batch: Mapping[AgentKey, _Beat], now: datetime) -> Iterator[Renewal]:
        moment = self._clock.monotonic()
        for key, beat in batch.items():
            time = now - timedelta(seconds=moment - beat.moment)
            yield Renewal(
                key=key,
                epoch=beat.epoch,
                load=beat.load,
                beat_time=time,
                expire_time=time + self._terms.expire_after,
            )
