"""Heartbeats: gathered in memory, written to the store together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from brikk_discovery.domain.agent import Agent, AgentKey, Load
from brikk_discovery.domain.lease import Beat, check_holder
from brikk_discovery.domain.ranking import State
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.pace import Pace
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.store.agents import AgentStore
from brikk_discovery.store.renewals import Renewal, RenewalStore
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import BrikkError, NotFound, Reason, Unavailable

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Heard:
    epoch: int
    load: Load
    moment: float
    lease: timedelta
    """What the agent was promised."""


class Beats:
    """Takes heartbeats at once, and writes them within a checkpoint's interval, in one statement.

    So thousands of agents cost a transaction a second. What a crash takes with it is covered by the
    grace that leases get after a restart.

    Args:
        catch_up: learns what other replicas have committed by now; None when there are none.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: AgentStore,
        renewals: RenewalStore,
        registry: Registry[object],
        pace: Pace,
        catch_up: Callable[[], Awaitable[None]] | None,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._store = store
        self._renewals = renewals
        self._registry = registry
        self._pace = pace
        self._catch_up = catch_up
        self._clock = clock
        self._renewed = metrics.beats.labels("renewed")
        self._refused = metrics.beats.labels("refused")
        self._pending: dict[AgentKey, _Heard] = {}
        self._arrived = asyncio.Event()
        # How far the store's clock is ahead of ours.
        self._ahead = timedelta(0)
        # Since when heartbeats wait that could not be written.
        self._failing: float | None = None

    async def take(self, beats: Sequence[Beat]) -> list[State | BrikkError]:
        """Renew leases; each beat is judged by itself: the agent's state, or why it is refused.

        Raises:
            Unavailable: the store has not answered for so long that heartbeats taken here do not
                count any more, or must be asked for a lease that is not known here.
        """
        self._check_writing()
        results = [self._renew(beat) for beat in beats]
        if self._catch_up is not None and any(isinstance(item, NotFound) for item in results):
            # Another replica may have registered it a moment ago.
            await self._catch_up()
            results = [
                self._renew(beat) if isinstance(result, NotFound) else result
                for beat, result in zip(beats, results, strict=True)
            ]
        refused = sum(isinstance(item, BrikkError) for item in results)
        if refused:
            self._refused.inc(refused)
        self._renewed.inc(len(results) - refused)
        return results

    def _renew(self, beat: Beat) -> State | BrikkError:
        key = beat.key
        entry = self._registry.get(key)
        try:
            agent = check_holder(None if entry is None else entry.agent, key, beat.epoch)
        except BrikkError as error:
            return error
        load, lease = beat.load, self._pace.terms.expire_after
        if load.capacity is None and agent.load.capacity is not None:
            load = replace(load, capacity=agent.load.capacity)
        # Whoever was heard later than now was heard before a clock was set back.
        now = max(self._clock.now() + self._ahead, agent.beat_time)
        entry = self._registry.beat(
            key,
            beat.epoch,
            load,
            beat_time=now,
            expire_time=max(agent.expire_time, now + lease),
        )
        assert entry is not None  # it was there before it was heard
        self._pace.heard(key)
        self._pending[key] = _Heard(
            epoch=beat.epoch, load=load, moment=self._clock.monotonic(), lease=lease
        )
        self._arrived.set()
        return entry.state

    def _check_writing(self) -> None:
        """Let agents beat elsewhere before their leases end, when the store cannot be told."""
        if self._failing is None:
            return
        patience = self._pace.terms.heartbeat_interval.total_seconds()
        if self._clock.monotonic() - self._failing > patience:
            raise Unavailable(
                Reason.DEPENDENCY_UNAVAILABLE, "the store of the registry does not answer"
            )

    async def run(self) -> None:
        """Write what has gathered, once in each interval, until cancelled."""
        while True:
            await self._arrived.wait()
            await self._clock.sleep(self._pace.terms.checkpoint_interval)
            self._pace.settle()
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
        if not batch:
            return
        try:
            await self._write(batch)
        except Unavailable:
            if self._failing is None:
                self._failing = self._clock.monotonic()
            raise
        self._failing = None
        for key, heard in batch.items():
            # Another one may have come meanwhile: that one is still to be written.
            if self._pending.get(key) is heard:
                del self._pending[key]
        if not self._pending:
            self._arrived.clear()

    async def _write(self, batch: Mapping[AgentKey, _Heard]) -> None:
        async with self._database.transaction() as connection:
            _, now = await self._store.advance(connection)
            self._ahead = now - self._clock.now()
            renewals = list(self._renewals_of(batch, now))
            agents: Mapping[AgentKey, Agent] = {}
            if changed := await self._renewals.renew(connection, renewals):
                last, _ = await self._store.advance(connection, len(changed))
                revisions = range(last - len(changed) + 1, last + 1)
                await self._store.revise(connection, dict(zip(changed, revisions, strict=True)))
                agents = await self._store.read(connection, changed)
        for agent in agents.values():
            self._registry.put(agent)

    def _renewals_of(self, batch: Mapping[AgentKey, _Heard], now: datetime) -> Iterator[Renewal]:
        moment = self._clock.monotonic()
        for key, heard in batch.items():
            time = now - timedelta(seconds=moment - heard.moment)
            yield Renewal(
                key=key,
                epoch=heard.epoch,
                load=heard.load,
                beat_time=time,
                expire_time=time + heard.lease,
            )
