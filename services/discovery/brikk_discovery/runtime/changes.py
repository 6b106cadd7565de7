"""Registrations, removals and operators' commands: decided and committed together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.clients.events import Announcer
from brikk_discovery.domain.agent import Agent, AgentKey
from brikk_discovery.domain.fact import Fact, FactType, fact_of
from brikk_discovery.domain.lease import (
    Registration,
    Removal,
    check_quota,
    check_removal,
    register,
    remember,
)
from brikk_discovery.domain.memory import NOTHING, Memory
from brikk_discovery.domain.order import Command, obey
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.pace import Pace
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.store.agents import AgentStore
from brikk_discovery.store.memories import MemoryStore
from brikk_discovery.store.removals import RemovalStore
from brikk_shared.call import current_call
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import BrikkError, Unavailable
from brikk_shared.group_commit import GroupCommit, in_transaction

_log = structlog.stdlib.get_logger(__name__)

_PAUSE: Final = timedelta(seconds=1)


_Wish: TypeAlias = Registration | Removal | Command


@dataclass(frozen=True, kw_only=True, slots=True)
class _Change:
    wish: _Wish
    traceparent: str


# The agent as it stands after a change, or the revision at which it is gone.
_Outcome: TypeAlias = Agent | int


class Changes:
    """The one way in which agents come, change and leave by wish: their own or an operator's.

    Args:
        max_agents: most agents that an organisation may have registered at once.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: AgentStore,
        memories: MemoryStore,
        removals: RemovalStore,
        registry: Registry[object],
        announcer: Announcer,
        pace: Pace,
        max_agents: int,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._store = store
        self._memories = memories
        self._removals = removals
        self._registry = registry
        self._announcer = announcer
        self._pace = pace
        self._max_agents = max_agents
        self._clock = clock
        self._metrics = metrics
        self._commits = GroupCommit[_Change, _Outcome](
            in_transaction(database, self._write), keys=lambda change: [change.wish.key]
        )
        self._under_way: set[asyncio.Task[_Outcome]] = set()
        # Agents of which the registry may not know what the store holds.
        self._uncertain: set[AgentKey] = set()
        self._unanswered = asyncio.Event()

    async def register(self, registration: Registration) -> Agent:
        """Register an agent, or replace what it had registered.

        Raises:
            ResourceExhausted: QUOTA_EXCEEDED, the organisation has as many agents as it may.
            FailedPrecondition: LEASE_SUPERSEDED, a newer process registered under the id.
        """
        agent = await self._change(registration)
        assert isinstance(agent, Agent)  # a registration leaves an agent behind
        self._metrics.registrations.inc()
        return agent

    async def remove(self, removal: Removal) -> None:
        """Remove an agent; one that is gone is no error.

        Raises:
            NotFound: REREGISTER, the lease is from a history that the registry has lost.
            FailedPrecondition: LEASE_SUPERSEDED, a newer process holds the lease.
        """
        await self._change(removal)

    async def command(self, command: Command) -> Agent:
        """Carry out what an operator orders.

        Raises:
            NotFound: RESOURCE_NOT_FOUND, the agent is not live.
        """
        agent = await self._change(command)
        assert isinstance(agent, Agent)  # a command removes nobody
        return agent

    async def commit(self) -> None:
        """Commit changes until cancelled."""
        await self._commits.run()

    async def read_again(self) -> None:
        """Read again what may have been committed without an answer, until cancelled."""
        while True:
            await self._unanswered.wait()
            await self._clock.sleep(_PAUSE)
            try:
                await self._read_again()
            except Unavailable as error:
                _log.warning("answers_missing", agents=len(self._uncertain), error=error.message)

    async def _read_again(self) -> None:
        keys = set(self._uncertain)
        async with self._database.transaction() as connection:
            # The lock waits for a commit that is still under way.
            revision, _ = await self._store.advance(connection)
            found = await self._store.read(connection, keys)
        for key in keys:
            if key in found:
                self._registry.put(found[key])
            else:
                self._registry.remove(key, revision)
        self._uncertain -= keys
        if not self._uncertain:
            self._unanswered.clear()

    async def _change(self, wish: _Wish) -> _Outcome:
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
            outcome = await self._commits.submit(change)
        except Unavailable:
            self._uncertain.add(key)
            self._unanswered.set()
            raise
        self._announcer.wake()
        if not isinstance(outcome, Agent):
            self._registry.remove(key, outcome)
            return outcome
        self._registry.put(outcome)
        held = self._registry.get(key)
        if held is None or held.agent.revision != outcome.revision:
            return outcome
        return held.agent  # with the last heartbeat, of which the store may not know yet

    async def _write(
        self, connection: AsyncConnection, changes: Sequence[_Change]
    ) -> list[_Outcome | BrikkError]:
        last, now = await self._store.advance(connection, len(changes))
        keys = [change.wish.key for change in changes]
        held = await self._store.read(connection, keys)
        memories = await self._memories.read(connection, keys)
        counts = await self._store.count(
            connection,
            {
                change.wish.key.organization
                for change in changes
                if isinstance(change.wish, Registration) and change.wish.key not in held
            },
        )
        written = _Written(now=now)
        results: list[_Outcome | BrikkError] = []
        for revision, change in enumerate(changes, start=last - len(changes) + 1):
            key = change.wish.key
            before, memory = held.get(key), memories.get(key, NOTHING)
            try:
                outcome = self._decide(
                    change.wish, before, memory, counts, revision=revision, now=now
                )
            except BrikkError as error:
                results.append(error)
                continue
            results.append(outcome)
            written.note(change, before, memory, outcome, revision)
        await self._store.save(connection, written.registered)
        await self._store.doubt(
            connection, {agent.key: (agent.doubt, agent.revision) for agent in written.commanded}
        )
        await self._store.delete(connection, written.removed)
        await self._removals.add(connection, written.removed, now)
        await self._memories.save(connection, written.memories, now)
        await self._announcer.add(connection, written.facts)
        return results

    def _decide(
        self,
        wish: _Wish,
        held: Agent | None,
        memory: Memory,
        counts: dict[str, int],
        *,
        revision: int,
        now: datetime,
    ) -> _Outcome:
        if isinstance(wish, Removal):
            check_removal(held, wish)
            return revision
        if isinstance(wish, Command):
            return obey(held, wish, revision=revision, now=now)
        if held is None:
            organization = wish.key.organization
            counts[organization] = counts.get(organization, 0) + 1
            check_quota(counts[organization], self._max_agents)
        return register(held, memory, wish, revision=revision, now=now, terms=self._pace.terms)


@dataclass(kw_only=True, slots=True)
class _Written:
    """What a batch of changes writes."""

    now: datetime
    registered: list[Agent] = field(default_factory=list)
    commanded: list[Agent] = field(default_factory=list)
    removed: dict[AgentKey, int] = field(default_factory=dict)
    memories: dict[AgentKey, Memory] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)

    def note(
        self,
        change: _Change,
        before: Agent | None,
        memory: Memory,
        outcome: _Outcome,
        revision: int,
    ) -> None:
        """Note what one change writes: little, when it changed nothing but the lease's end."""
        wish, after = change.wish, memory
        if not isinstance(outcome, Agent):
            if before is not None:
                self.removed[wish.key] = revision
                self._tell(FactType.DEREGISTERED, before, change, revision)
        elif isinstance(wish, Registration):
            self.registered.append(outcome)
            after = remember(before, memory, outcome)
            if outcome.revision == revision:
                self._tell(FactType.REGISTERED, outcome, change, revision)
        elif outcome.revision == revision:
            self.commanded.append(outcome)
            after = replace(memory, order=outcome.order)
            self._tell(fact_of(outcome.order), outcome, change, revision)
        if after != memory:
            self.memories[wish.key] = after

    def _tell(self, type_: FactType, agent: Agent, change: _Change, revision: int) -> None:
        self.facts.append(
            Fact(
                type=type_,
                agent=agent,
                revision=revision,
                time=self.now,
                traceparent=change.traceparent,
            )
        )
