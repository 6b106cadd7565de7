"""What callers experienced with agents: gathered in memory, shared with other replicas."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.domain.outcome import Observation, Outcome, Sums
from brikk_discovery.runtime.ranking import Entry
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.store.agents import AgentStore
from brikk_discovery.store.outcomes import Experience, ExperienceKey, OutcomeStore
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable

_log = structlog.stdlib.get_logger(__name__)

KEPT: Final = timedelta(minutes=10)
"""How long the store keeps what nothing is added to: ten half-lives, after which a thousandth of it
is left."""

# A transaction may commit so long after it read the time that it writes.
_UNSEEN: Final = timedelta(seconds=10)
# Without news, an observation is shown anew after this time: it has lost a sixth of its weight.
_REFRESHED: Final = timedelta(seconds=15)
# With less of a call left than this, nothing is known.
_LEAST: Final = 0.5
_FAILING: Final = 2


@dataclass(frozen=True, slots=True)
class _Known:
    sums: Sums
    moment: float
    """When the sums were so, by the monotonic clock."""
    time: datetime | None = None
    """When the store had what is in them, by its clock."""


class Outcomes:
    """Sums up what callers tell, and shows it to the registry once in each interval.

    What is told is added to what all replicas know in one transaction in each interval. All of it
    is a hint: what a crash takes with it is told again soon. It is bounded by the registry: only
    live agents are known, at capabilities that they offer.
    """

    def __init__(
        self,
        *,
        database: Database,
        agents: AgentStore,
        store: OutcomeStore,
        registry: Registry[object],
        interval: timedelta,
        clock: Clock,
    ) -> None:
        self._database = database
        self._agents = agents
        self._store = store
        self._registry = registry
        self._interval = interval
        self._clock = clock
        self._known: dict[AgentKey, dict[str, _Known]] = {}
        # What was told here and is not in the store yet.
        self._untold: dict[ExperienceKey, _Known] = {}
        self._changed: dict[ExperienceKey, None] = {}
        # When each was shown, the longest ago first.
        self._shown: OrderedDict[ExperienceKey, float] = OrderedDict()
        self._failing: dict[AgentKey, set[str]] = {}
        self._gone: set[AgentKey] = set()
        self._swept = clock.monotonic()
        self._learned: datetime | None = None
        self._stirred = asyncio.Event()
        registry.subscribe(self._note)

    def report(self, agent: AgentKey, outcome: Outcome) -> None:
        """Take in what a caller tells; of agents that do not offer the capability, nothing."""
        key = ExperienceKey(agent, outcome.capability)
        if not self._offered(key) or not outcome.successes + outcome.failures:
            return
        known = self._sums(self._held(key))
        told = known.of(outcome)
        held = self._held(key)
        self._keep(key, known.plus(told), None if held is None else held.time)
        self._add_untold(key, told)

    def absorb(self, experiences: Iterable[Experience], now: datetime) -> None:
        """Take in what the store holds at its time `now`.

        What is older than known is ignored, and so is what was experienced with another process
        than the one that is registered: the store forgets that soon.
        """
        for experience in experiences:
            key, held = experience.key, self._held(experience.key)
            if held is not None and held.time is not None and held.time >= experience.time:
                continue
            entry = self._registry.get(key.agent)
            if entry is None or experience.time < entry.agent.register_time:
                continue
            if key.capability in entry.places:
                stored = experience.sums.decayed(now - experience.time)
                self._keep(key, stored.plus(self._sums(self._untold.get(key))), experience.time)

    async def learn(self, connection: AsyncConnection, now: datetime) -> None:
        """Take in what the store learned since the last time; `now` is its time.

        Raises:
            Unavailable: the store does not answer.
        """
        since = now - KEPT if self._learned is None else self._learned - _UNSEEN
        self.absorb(await self._store.changed_since(connection, since), now)
        self._learned = now

    def in_doubt(self) -> list[AgentKey]:
        """Give the agents whose calls mostly fail of late at some capability."""
        return list(self._failing)

    async def run(self) -> None:
        """Show and share what gathers, once in each interval, until cancelled."""
        while True:
            await self._stirred.wait()
            await self._clock.sleep(self._interval)
            self.show()
            try:
                await self.checkpoint()
            except Unavailable as error:
                _log.warning("outcomes_wait", count=len(self._untold), error=error.message)
            if not (self._shown or self._changed or self._untold or self._gone):
                self._stirred.clear()

    def show(self) -> None:
        """Show the registry what changed, and what has lost weight since it was shown."""
        now = self._clock.monotonic()
        changed, self._changed = self._changed, {}
        for key, moment in self._shown.items():
            if now - moment < _REFRESHED.total_seconds():
                break
            changed[key] = None
        observations: dict[AgentKey, dict[str, Observation | None]] = {}
        for key in changed:
            observation = self._observation(key)
            observations.setdefault(key.agent, {})[key.capability] = observation
            if observation is None:
                self._drop(key)
            else:
                self._shown[key] = now
                self._shown.move_to_end(key)
            self._judge(key, observation)
        for agent, each in observations.items():
            self._registry.observe(agent, each)

    async def checkpoint(self) -> None:
        """Add what was told to what all replicas know. When that fails, it is still to be told.

        Raises:
            Unavailable: the store does not answer.
        """
        told, self._untold = self._untold, {}
        gone, self._gone = self._gone, set()
        if not told and not gone:
            return
        try:
            known, now = await self._write(told, gone)
        except Unavailable:
            self._gone |= gone
            for key, each in told.items():
                self._add_untold(key, self._sums(each))
            raise
        self.absorb(known, now)

    async def _write(
        self, told: dict[ExperienceKey, _Known], gone: set[AgentKey]
    ) -> tuple[list[Experience], datetime]:
        async with self._database.transaction() as connection:
            _, now = await self._agents.advance(connection)
            await self._store.forget(connection, gone)
            if self._clock.monotonic() - self._swept > KEPT.total_seconds():
                await self._store.forget_before(connection, now - KEPT)
                self._swept = self._clock.monotonic()
            stored = {item.key: item for item in await self._store.read(connection, told)}
            known = []
            for key, each in told.items():
                sums, held = self._sums(each), stored.get(key)
                if held is not None:
                    sums = held.sums.decayed(now - held.time).plus(sums)
                known.append(Experience(key=key, sums=sums, time=now))
            await self._store.save(connection, known)
        return known, now

    def _note(self, before: Entry[object] | None, after: Entry[object] | None) -> None:
        """Forget an agent that left, or that another process replaced."""
        if before is None or (after is not None and before.agent.epoch == after.agent.epoch):
            return
        agent = before.agent.key
        for capability in list(self._known.get(agent, ())):
            key = ExperienceKey(agent, capability)
            self._drop(key)
            self._judge(key, None)
            self._gone.add(agent)

    def _offered(self, key: ExperienceKey) -> bool:
        entry = self._registry.get(key.agent)
        return entry is not None and key.capability in entry.places

    def _held(self, key: ExperienceKey) -> _Known | None:
        return self._known.get(key.agent, {}).get(key.capability)

    def _sums(self, known: _Known | None) -> Sums:
        """Give the sums as they are now."""
        if known is None:
            return Sums()
        return known.sums.decayed(timedelta(seconds=self._clock.monotonic() - known.moment))

    def _observation(self, key: ExperienceKey) -> Observation | None:
        sums = self._sums(self._held(key))
        return sums.observation() if sums.calls >= _LEAST else None

    def _keep(self, key: ExperienceKey, sums: Sums, time: datetime | None) -> None:
        known = _Known(sums, self._clock.monotonic(), time)
        self._known.setdefault(key.agent, {})[key.capability] = known
        self._changed[key] = None
        self._stirred.set()

    def _add_untold(self, key: ExperienceKey, sums: Sums) -> None:
        untold = self._sums(self._untold.get(key)).plus(sums)
        self._untold[key] = _Known(untold, self._clock.monotonic())

    def _drop(self, key: ExperienceKey) -> None:
        held = self._known.get(key.agent, {})
        held.pop(key.capability, None)
        if not held:
            self._known.pop(key.agent, None)
        for pending in (self._untold, self._changed, self._shown):
            pending.pop(key, None)

    def _judge(self, key: ExperienceKey, observation: Observation | None) -> None:
        failing = self._failing.get(key.agent, set())
        if observation is not None and observation.failing == _FAILING:
            failing.add(key.capability)
            self._failing[key.agent] = failing
        else:
            failing.discard(key.capability)
            if not failing:
                self._failing.pop(key.agent, None)
