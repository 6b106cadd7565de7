"""A replica of the engine in this process, between a store and agents that do as a test says."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import asyncpg
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.audit import AuditEntry
from brikk_shared.clock import StoreClock
from brikk_shared.database import Database, Result
from brikk_shared.errors import Reason, Unavailable
from brikk_shared.group_commit import GroupCommit
from brikk_shared.ids import new_id
from brikk_shared.leases import Leases
from brikk_shared.lifecycle import Supervisor
from brikk_shared.outbox import Outbox
from brikk_shared.testing import ManualClock
from brikk_shared.types import to_microseconds
from brikk_workflow.clients.work import Answered, Outcome, Refused, Work
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.usage import Usage
from brikk_workflow.runtime.changes import Changes
from brikk_workflow.runtime.definitions import Definitions
from brikk_workflow.runtime.departures import Departures
from brikk_workflow.runtime.engine import Engine
from brikk_workflow.runtime.metrics import Metrics
from brikk_workflow.runtime.progress import ProgressBoard
from brikk_workflow.runtime.replica import Replica
from brikk_workflow.runtime.rousing import Rousing
from brikk_workflow.runtime.subworkflows import Subworkflows
from brikk_workflow.runtime.timers import Timers
from brikk_workflow.runtime.waiting import WaitingRoom
from brikk_workflow.store import transitions
from brikk_workflow.store.ownership import REPLICA
from brikk_workflow.store.transition_writer import TransitionWriter
from brikk_workflow.store.transitions import keys
from support.directories import Setting

LEASE = timedelta(minutes=5)
SECOND = timedelta(seconds=1)
SOON = timedelta(milliseconds=20)
MICROSECOND = timedelta(microseconds=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


class StagedStore(Database):
    """A store whose clock goes as a test says; `elapsed` is how far it went."""

    def __init__(self, url: str) -> None:
        super().__init__(url, migrations="brikk_workflow.store.migrations")
        self.url = url
        self.elapsed = timedelta(0)

    @property
    def now_sql(self) -> str:
        return "(SELECT now FROM staged_clock)"

    @property
    def now(self) -> datetime:
        """The time by its clock."""
        return START + self.elapsed

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        async with self.transaction() as connection:
            await connection.execute(text("CREATE TABLE staged_clock (now BIGINT NOT NULL)"))
            await connection.execute(
                text("INSERT INTO staged_clock VALUES (:now)"), {"now": to_microseconds(START)}
            )
        return self

    async def advance(self, duration: timedelta) -> None:
        """Lets time pass, which a replica notices once it catches up."""
        async with self.transaction() as connection:
            await connection.execute(
                text("UPDATE staged_clock SET now = now + :by"), {"by": duration // MICROSECOND}
            )
        self.elapsed += duration


class Wire(Database):
    """What a replica sees of a store that others use as well: it may be cut, and lose answers."""

    def __init__(self, store: StagedStore) -> None:
        super().__init__(store.url, migrations=None)
        self._store = store
        self.cut = False
        self.losing = 0
        """How many commits from now on will be done and not be answered."""

    @property
    def now_sql(self) -> str:
        return self._store.now_sql

    @asynccontextmanager
    async def transaction(
        self, *, audit: Sequence[AuditEntry] | None = None
    ) -> AsyncIterator[AsyncConnection]:
        self._pass()
        async with self._store.transaction(audit=audit) as connection:
            yield connection
            self._pass()
        self._answer()

    async def run_statement(
        self, statement: str, arguments: Sequence[object]
    ) -> Sequence[asyncpg.Record]:
        self._pass()
        rows = await self._store.run_statement(statement, arguments)
        self._answer()
        return rows

    async def run_in_driver(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        self._pass()
        result = await self._store.run_in_driver(work)
        self._answer()
        return result

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        self._pass()
        async with self._store.reading() as connection:
            yield connection
        self._pass()

    def _answer(self) -> None:
        self._pass()
        if self.losing:
            self.losing -= 1
            raise _away()

    def _pass(self) -> None:
        if self.cut:
            raise _away()


def _away() -> Unavailable:
    return Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "the wire is cut")


@dataclass(kw_only=True, slots=True, eq=False)
class Pending:
    """A call that an agent has, and that nobody has answered or given up."""

    work: Work
    done: Callable[[Outcome], None]
    ended: bool = False

    def answer(self) -> None:
        """Does the work: the output says under which token."""
        token = self.work.order.token
        self._end(Answered(output={"token": token}, usage=Usage(), latency=SECOND))

    def fail(self) -> None:
        """Fails in a way that is worth another attempt."""
        failure = Failure(
            code="UNAVAILABLE",
            reason=Reason.AGENT_UNAVAILABLE,
            message="as the test says",
            metadata={},
            retryable=True,
        )
        self._end(Refused(failure=failure, usage=Usage(), latency=SECOND))

    def refuse(self) -> None:
        """Fails for good."""
        failure = Failure(
            code="INVALID_ARGUMENT", reason=Reason.AGENT_FAILED, message="as the test says"
        )
        self._end(Refused(failure=failure, usage=Usage(), latency=SECOND))

    def cancel(self) -> None:
        """Be `Ongoing.cancel`."""
        self.ended = True

    def _end(self, outcome: Outcome) -> None:
        self.ended = True
        self.done(outcome)


class Agents:
    """Stands where the engine calls agents; keeps each call until the test answers it."""

    def __init__(self) -> None:
        self._calls: list[Pending] = []
        self.made: Counter[tuple[str, str]] = Counter()
        """How often each step was called, by execution and step."""

    @property
    def pending(self) -> Sequence[Pending]:
        """The calls that wait for an answer, in a stable order."""
        waiting = (each for each in self._calls if not each.ended)
        return sorted(waiting, key=lambda each: (each.work.execution, each.work.order.token))

    def call(
        self, agent: str, endpoint: str, work: Work, done: Callable[[Outcome], None], told: object
    ) -> Pending:
        """Be `AgentCaller.call`."""
        self._calls = [each for each in self._calls if not each.ended]
        self._calls.append(Pending(work=work, done=done))
        self.made[work.execution, work.order.step_id] += 1
        return self._calls[-1]


class Member:
    """A replica on a machine with a clock of its own, which tells the time `now` when it starts."""

    def __init__(
        self, store: StagedStore, agents: Agents, setting: Setting, *, now: datetime
    ) -> None:
        # To the type checker it is none: it is what the engine sees of one.
        caller: Any = agents
        owner = new_id()
        self.clock = ManualClock(now)
        self._store, self._began = store, store.elapsed
        clock = StoreClock(self.clock)
        # As the service does before it serves.
        clock.hear(store.now, asked=clock.monotonic())
        self.wire = Wire(store)
        self.name = f"{REPLICA}{owner}"
        outbox = Outbox(self.wire, source=transitions.SOURCE, destinations=["webhooks"])
        writer = TransitionWriter(self.wire, outbox, observe=lambda *_: None)
        changes, definitions = Changes(), Definitions(self.wire)
        engine = Engine(
            replica=self.name,
            clock=clock,
            random=lambda: 0.5,
            database=self.wire,
            outbox=outbox,
            commits=GroupCommit(writer.commit, keys=keys),
            directory=setting.directory,
            selector=setting.selector,
            caller=caller,
            timers=Timers(clock),
            waiting=WaitingRoom(setting.directory, interval=SECOND, clock=clock),
            rousing=Rousing(setting.directory, self.wire, interval=SECOND, clock=clock),
            departures=Departures(self.wire, linger=SECOND, clock=clock),
            changes=changes,
            progress=ProgressBoard(self.wire, changes, clock),
            subworkflows=Subworkflows(
                self.wire, definitions, changes, clock, reconcile_interval=SECOND
            ),
            metrics=Metrics(CollectorRegistry()),
        )
        self.replica = Replica(
            engine,
            definitions,
            Leases(self.wire, owner, self.clock, store_clock=clock),
            lease_duration=LEASE,
            claim_interval=SECOND,
            reconcile_interval=SECOND,
            inbox_interval=SOON,
            max_owned=200,
            max_running=3,
        )
        self._drain: asyncio.Task[None] | None = None
        self._supervisor = Supervisor(self.clock)
        self._supervisor.add("commits", engine.commits.run)
        self._supervisor.add("timers", engine.timers.run)
        self._supervisor.add("waiting room", engine.waiting.run)
        for name, loop in self.replica.loops().items():
            self._supervisor.add(name, loop)
        self._supervisor.start()

    def catch_up(self) -> None:
        """Notices the time that has passed by the store."""
        seen = timedelta(seconds=self.clock.monotonic())
        self.clock.advance(self._store.elapsed - self._began - seen)

    @property
    def draining(self) -> bool:
        """Whether it takes on nothing more."""
        return self._drain is not None

    def drain(self) -> None:
        """Tells it to end in good order, which it does once its calls were answered."""
        self._drain = self._drain or asyncio.create_task(self.replica.drain())

    async def crash(self) -> None:
        """Ends it as a power cut does: nothing that it begins to say is heard."""
        self.wire.cut = True
        if self._drain:
            self._drain.cancel()
            await asyncio.gather(self._drain, return_exceptions=True)
        await self._supervisor.stop()
