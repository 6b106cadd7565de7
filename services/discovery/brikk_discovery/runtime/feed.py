"""What other replicas wrote, on its way into this one's registry."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from brikk_discovery.domain.agent import Agent, AgentKey
from brikk_discovery.domain.terms import Terms
from brikk_discovery.runtime.outcomes import Outcomes
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.store.agents import AgentStore, Position
from brikk_discovery.store.removals import KEPT, RemovalStore
from brikk_discovery.store.renewals import Renewal, RenewalStore
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable
from brikk_shared.ids import new_id

_log = structlog.stdlib.get_logger(__name__)

_INTERVAL: Final = timedelta(milliseconds=100)
# Removals are forgotten by another clock's reckoning, and by a sweep that may be under way.
_MARGIN: Final = timedelta(minutes=5)


class Feed:
    """Follows the store, which other replicas write to.

    Args:
        position: what the registry was loaded at.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: AgentStore,
        renewals: RenewalStore,
        removals: RemovalStore,
        registry: Registry[object],
        outcomes: Outcomes,
        position: Position,
        terms: Terms,
        clock: Clock,
    ) -> None:
        self._database = database
        self._store = store
        self._renewals = renewals
        self._removals = removals
        self._registry = registry
        self._outcomes = outcomes
        self._position = position
        # Where heartbeats were last read, which is not each time.
        self._heard = position
        self._terms = terms
        self._clock = clock
        self._turn = asyncio.Lock()
        # Reads begun, and whether the last one came to its end: if not, touch was lost.
        self._begun = 0
        self._in_touch = True

    @property
    def position(self) -> Position:
        """Up to where all is learned."""
        return self._position

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            in_touch = self._in_touch
            try:
                await self.catch_up()
            except Unavailable as error:
                if in_touch:
                    _log.warning("feed_lost", error=error.message)
            await self._clock.sleep(_INTERVAL)

    async def catch_up(self) -> None:
        """Learn all that was committed before this call; many who ask at once share a read.

        Raises:
            Unavailable: the store does not answer.
        """
        begun = self._begun
        async with self._turn:
            if self._begun == begun or not self._in_touch:
                await self._read()

    async def _read(self) -> None:
        self._begun += 1
        lost, self._in_touch = not self._in_touch, False
        seen, news = self._position, _News()
        async with self._database.reading() as connection:
            position = await self._store.position(connection)
            known = position.epoch == seen.epoch and position.time - seen.time < KEPT - _MARGIN
            if known and position.revision != seen.revision:
                news.agents = await self._store.since(connection, seen.revision)
                news.removed = await self._removals.since(connection, seen.revision)
            due = abs(position.time - self._heard.time) >= self._terms.checkpoint_interval
            if due:
                news.beats = await self._renewals.since(connection, self._heard.turn)
                await self._outcomes.learn(connection, position.time)
            if known and lost:
                news.revisions = await self._store.revisions(connection)
        self._apply(news)
        if due:
            self._heard = position
        if known and self._went_back(seen, position, news):
            _log.warning("store_went_back", revision=position.revision, seen=seen.revision)
            await self._begin_epoch(seen)
            known = False
        if not known:
            self._heard = position = await self._reload()
        self._registry.reach(position.revision)
        self._position = position
        self._in_touch = True

    def _apply(self, news: _News) -> None:
        for key, revision in news.removed.items():
            self._registry.remove(key, revision)
        for agent in news.agents:
            self._registry.put(agent)
        for beat in news.beats:
            self._registry.beat(
                beat.key,
                beat.epoch,
                beat.load,
                beat_time=beat.beat_time,
                expire_time=beat.expire_time,
            )

    def _went_back(self, seen: Position, position: Position, news: _News) -> bool:
        """Whether the store was restored from an older copy: then it lacks what it once told.

        That cannot happen while we are in touch, but when it was written to before we are again,
        its revision alone does not show it.
        """
        if position.revision < seen.revision or position.turn < seen.turn:
            return True
        if news.revisions is None:
            return False
        held = {entry.agent.key: entry.agent.revision for entry in self._registry.entries()}
        # Our own commits may be newer than what was read.
        return any(
            revision <= position.revision and news.revisions.get(key) != revision
            for key, revision in held.items()
        )

    async def _begin_epoch(self, seen: Position) -> None:
        """Begin a new history in the store, unless another replica was faster."""
        async with self._database.transaction() as connection:
            await self._store.advance(connection)
            if (await self._store.position(connection)).epoch == seen.epoch:
                await self._store.begin_epoch(connection, new_id())

    async def _reload(self) -> Position:
        """Take in the store as a whole."""
        async with self._database.reading() as connection:
            position = await self._store.position(connection)
            agents = {agent.key: agent for agent in await self._store.read_all(connection)}
        for entry in list(self._registry.entries()):
            if entry.agent.key not in agents:
                self._registry.remove(entry.agent.key, position.revision)
        for agent in agents.values():
            self._registry.put(agent)
        return position


@dataclass(kw_only=True, slots=True)
class _News:
    agents: list[Agent] = field(default_factory=list)
    removed: dict[AgentKey, int] = field(default_factory=dict)
    beats: list[Renewal] = field(default_factory=list)
    revisions: dict[AgentKey, int] | None = None
    """Of all agents; read after touch was lost."""
