"""Registrations and removals: decided, committed together, then told to the registry."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.clients.events import Announcer
from brikk_discovery.domain.agent import Agent, AgentKey
from brikk_discovery.domain.fact import Fact, FactType
from brikk_discovery.domain.lease import (
    Registration,
    Removal,
    Terms,
    check_holder,
    check_quota,
    register,
)
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.store.agents import AgentStore
from brikk_shared.call import current_call
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import BrikkError, Unavailable
from brikk_shared.group_commit import GroupCommit

_log = structlog.stdlib.get_logger(__name__)

_DOUBT_PAUSE: Final = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Change:
    wish: Registration | Removal
    traceparent: str


# The agent as it stands after a change; None when it is gone.
_Outcome: TypeAlias = "Agent | None"


class Changes:
    """The one way in which agents come, change and leave by their own wish.

    Args:
        max_agents: most agents that an organisation may have registered at once.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: AgentStore,
        registry: Registry[object],
        announcer: Announcer,
        terms: Terms,
        max_agents: int,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._store = store
        self._registry = registry
        self._announcer = announcer
        self._terms = terms
        self._max_agents = max_agents
        self._clock = clock
        self._metrics = metrics
        self._commits = GroupCommit[_Change, _Outcome](
            database, self._write, keys=lambda change: [change.wish.key]
        )
        self._under_way: set[asyncio.Task[_Outcome]] = set()
        # Agents of which the registry may not know what the store holds.
        self._doubtful: set[AgentKey] = set()
        self._doubt = asyncio.Event()

    async def register(self, registration: Registration) -> Agent:
        """Register an agent, or replace what it had registered.

        Raises:
            ResourceExhausted: QUOTA_EXCEEDED, the organisation has as many agents as it may.
        """
        agent = await self._change(registration)
        assert agent is not None  # a registration leaves an agent behind
        self._metrics.registrations.inc()
        return agent

    async def remove(self, removal: Removal) -> None:
        """Remove an agent; one that is gone is no error.

        Raises:
            NotFound: REREGISTER, somebody else holds the lease.
        """
        await self._change(removal)

    async def commit(self) -> None:
        """Commit changes until cancelled."""
        await self._commits.run()

    async def settle_doubts(self) -> None:
        """Read again what may have been committed without an answer, until cancelled."""
        while True:
            await self._doubt.wait()
            await self._clock.sleep(_DOUBT_PAUSE)
            try:
                await self._settle_doubts()
            except Unavailable as error:
                _log.warning("doubts_remain", agents=len(self._doubtful), error=error.message)

    async def _settle_doubts(self) -> None:
        keys = set(self._doubtful)
        async with self._database.transaction() as connection:
            # The lock waits for a commit that is still under way.
            _, now = await self._store.advance(connection)
            found = await self._store.read(connection, keys)
        for key in keys:
            held, stored = self._registry.get(key), found.get(key)
            if stored is None:
                self._registry.remove(key)
            elif held is None or held.agent.revision != stored.revision:
                self._registry.put(stored, silence=now - stored.beat_time)
        self._doubtful -= keys
        if not self._doubtful:
            self._doubt.clear()

    async def _change(self, wish: Registration | Removal) -> _Outcome:
        # A task of its own: when the caller gives up, the registry still learns of the commit.
        change = _Change(wish=wish, traceparent=current_call().traceparent)
        task = asyncio.create_task(self._carry_out(change))
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[_Outcome]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever gave up does not want to know

    async def _carry_out(self, change: _Change) -> _Outcome:
        key = change.wish.key
        try:
            agent = await self._commits.submit(change)
        except Unavailable:
            self._doubtful.add(key)
            self._doubt.set()
            raise
        if agent is None:
            self._registry.remove(key)
        else:
            self._registry.put(agent)
        self._announcer.wake()
        return agent

    async def _write(
        self, connection: AsyncConnection, changes: Sequence[_Change]
    ) -> list[_Outcome | BrikkError]:
        last, now = await self._store.advance(connection, len(changes))
        held = await self._store.read(connection, [change.wish.key for change in changes])
        counts = await self._store.count(
            connection,
            {
                change.wish.key.organization
                for change in changes
                if isinstance(change.wish, Registration) and change.wish.key not in held
            },
        )
        results: list[_Outcome | BrikkError] = []
        facts: list[Fact] = []
        for revision, change in enumerate(changes, start=last - len(changes) + 1):
            wish, before = change.wish, held.get(change.wish.key)
            try:
                after = self._decide(wish, before, counts, revision=revision, now=now)
            except BrikkError as error:
                results.append(error)
                continue
            results.append(after)
            if (fact := _fact(before, after, revision, now, change.traceparent)) is not None:
                facts.append(fact)
        await self._store.save(connection, [item for item in results if isinstance(item, Agent)])
        await self._store.delete(
            connection, [fact.agent.key for fact in facts if fact.type is FactType.DEREGISTERED]
        )
        await self._announcer.add(connection, facts)
        return results

    def _decide(
        self,
        wish: Registration | Removal,
        held: Agent | None,
        counts: dict[str, int],
        *,
        revision: int,
        now: datetime,
    ) -> Agent | None:
        if isinstance(wish, Removal):
            check_holder(held, wish)
            return None
        if held is None:
            organization = wish.key.organization
            counts[organization] = counts.get(organization, 0) + 1
            check_quota(counts[organization], self._max_agents)
        return register(held, wish, revision=revision, now=now, terms=self._terms)


def _fact(
    before: Agent | None, after: Agent | None, revision: int, now: datetime, traceparent: str
) -> Fact | None:
    """What there is to tell of a change: nothing when it changed nothing but the lease's end."""
    if after is not None and after.revision == revision:
        type_, agent = FactType.REGISTERED, after
    elif after is None and before is not None:
        type_, agent = FactType.DEREGISTERED, before
    else:
        return None
    return Fact(type=type_, agent=agent, revision=revision, time=now, traceparent=traceparent)
