"""This replica's share of the executions: starts some, claims what nobody runs, lets go."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from brikk_shared.ids import new_id
from brikk_shared.leases import Lease, Leases
from brikk_shared.selection import Option
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.decider import decide, start
from brikk_workflow.domain.decision import CallsLost, Command, Decision, Event, Values
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.state import ExecutionState, next_wake
from brikk_workflow.runtime.definitions import Definitions
from brikk_workflow.runtime.engine import Engine
from brikk_workflow.runtime.placing import place_calls
from brikk_workflow.runtime.run import Run
from brikk_workflow.store.executions import get_outputs
from brikk_workflow.store.ownership import claim, release
from brikk_workflow.store.transitions import Begin, Changes
from brikk_workflow.store.wishes import held_with_wishes, read_wishes

log = structlog.get_logger()

CLAIM_BATCH = 100
FAILED_PAUSE = timedelta(seconds=5)
"""How long an execution rests whose run failed by a defect, before anyone claims it again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What an execution is started with; `input` has been accepted by the workflow's schema.

    With `newest` it only begins while `workflow` is the newest version.
    """

    organization: str
    workflow: CompiledWorkflow
    newest: bool
    input: Mapping[str, Json]
    labels: Mapping[str, str]
    priority: int
    request_id: str
    traceparent: str
    retry_of: str = ""


class Replica:
    """Holds executions while its lease is live, at most `max_owned`; without the lease, none."""

    def __init__(
        self,
        engine: Engine,
        definitions: Definitions,
        leases: Leases,
        *,
        lease_duration: timedelta,
        claim_interval: timedelta,
        inbox_interval: timedelta,
        max_owned: int,
    ) -> None:
        self._engine = engine
        self._definitions = definitions
        self._leases = leases
        self._lease_duration = lease_duration
        self._claim_interval = claim_interval
        self._inbox_interval = inbox_interval
        self._max_owned = max_owned
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._claiming = False
        self._inbox_news = asyncio.Event()
        self._resting: set[str] = set()
        self._rest_news = asyncio.Event()

    async def run(self) -> None:
        """Claims for ever; what it holds stops the moment the lease is lost."""
        await self._leases.hold(self._engine.replica, self._lease_duration, self._while_live)

    async def start(self, order: Start) -> ExecutionRecord | None:
        """Begins an execution durably; None when the request id began one, or a version came.

        It is this replica's from the first commit on, so it needs no wake-up. When this replica
        has no room for it, anyone may claim it.
        """
        execution_id = new_id()
        now = self._engine.clock.now()
        values = Values(execution=execution_id, input=order.input, outputs={})

        def follow(state: ExecutionState, events: Sequence[Event]) -> Decision:
            return decide(
                order.workflow, state, events, values=values, now=now, random=self._engine.random
            )

        decision, candidates = await place_calls(
            start(order.workflow, values=values, now=now, random=self._engine.random),
            directory=self._engine.directory,
            organization=order.organization,
            follow=follow,
        )
        room = self._claiming and len(self._runs) < self._max_owned
        record = _record(order, execution_id, decision, self._engine.replica if room else None, now)
        written = await self._engine.commits.submit(_begin(order, record, decision))
        if not written.applied:
            return None
        self._engine.outbox.wake()
        self._engine.metrics.executions.labels("started").inc()
        if record.owner is None or record.state.status.terminal:
            return record
        if self._claiming:
            run = Run(self._engine, order.workflow, record, decision.outputs)
            self._hold(run, decision.commands, candidates)
        else:
            self._rest(record.execution_id)
        return record

    def held(self, organization: str, execution_id: str) -> ExecutionRecord | None:
        """Returns an execution of an organisation as last committed, if this replica holds it."""
        run, _ = self._runs.get(execution_id, (None, None))
        return run.record if run and run.record.organization == organization else None

    def poke(self, execution_id: str) -> bool:
        """Tells whether this replica holds the execution, whose inbox is then read at once."""
        held = execution_id in self._runs
        if held:
            self._inbox_news.set()
        return held

    async def drain(self) -> None:
        """Claims nothing more, records what is in flight, and lets go of everything."""
        self._claiming = False
        runs = list(self._runs.values())
        for run, _ in runs:
            run.drain()
        busy = [task for run, task in runs if run.calling]
        await asyncio.gather(
            *(task for run, task in runs if not run.calling), return_exceptions=True
        )
        await self._release([run.execution_id for run, _ in runs if not run.calling])
        await asyncio.gather(*busy, return_exceptions=True)
        await self._release()

    async def watch_inbox(self) -> None:
        """Reads the wishes of what it holds, at once when told of one here, else every interval."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._inbox_interval.total_seconds()):
                    await self._inbox_news.wait()
            self._inbox_news.clear()
            if self._runs:
                await self._read_inbox()

    async def _read_inbox(self) -> None:
        async with self._engine.database.reading() as connection:
            wishful = await held_with_wishes(
                connection, self._engine.database, self._engine.replica
            )
            runs = [self._runs[each][0] for each in wishful if each in self._runs]
            after = {run.execution_id: run.wishes_read for run in runs}
            wishes = await read_wishes(connection, after) if after else {}
        for run in runs:
            run.post_wishes(wishes[run.execution_id])

    async def _while_live(self, lease: Lease) -> None:
        log.info("replica is live", replica=lease.name, epoch=lease.epoch)
        # What it held before it lost its lease is not in memory any more.
        await self._release()
        self._claiming = True
        try:
            while True:
                claimed = await self._claim() if self._claiming else 0
                if claimed < CLAIM_BATCH:
                    await self._engine.clock.sleep(self._claim_interval)
        finally:
            self._claiming = False
            for _, task in self._runs.values():
                task.cancel()

    async def _claim(self) -> int:
        limit = min(CLAIM_BATCH, self._max_owned - len(self._runs))
        if limit <= 0:
            return 0
        engine = self._engine
        async with engine.database.transaction() as connection:
            records = await claim(connection, engine.database, engine.replica, limit=limit)
            outputs = await get_outputs(connection, [each.execution_id for each in records])
        for record in records:
            workflow = await self._definitions.get(
                record.organization, record.workflow_id, record.version
            )
            run = Run(engine, workflow, record, outputs[record.execution_id])
            # Whoever made its calls is gone, and with it their answers.
            run.post(CallsLost())
            self._hold(run, (), {})
        if records:
            log.info("executions claimed", count=len(records))
            engine.metrics.claims.inc(len(records))
            self._inbox_news.set()
        return len(records)

    def _hold(
        self, run: Run, commands: Sequence[Command], candidates: Mapping[str, Option]
    ) -> None:
        # A context of its own: the call that started it is over long before the execution is.
        task = asyncio.create_task(run.follow(commands, candidates), context=Context())
        self._runs[run.execution_id] = (run, task)
        self._engine.metrics.held.set(len(self._runs))
        task.add_done_callback(partial(self._ended, run))

    def _ended(self, run: Run, task: asyncio.Task[None]) -> None:
        # Unless it was lost and claimed again before it had quite ended.
        held, _ = self._runs.get(run.execution_id, (None, None))
        if held is run:
            del self._runs[run.execution_id]
        self._engine.metrics.held.set(len(self._runs))
        if not task.cancelled() and (error := task.exception()):
            # A defect met by one execution never stops another: it rests, then is tried again.
            log.error("execution rests", execution=run.execution_id, exc_info=error)
            self._rest(run.execution_id)

    def _rest(self, execution_id: str) -> None:
        self._resting.add(execution_id)
        self._rest_news.set()

    async def rest(self) -> None:
        """Lets go of executions whose run failed by a defect, so that they are tried again."""
        while True:
            await self._rest_news.wait()
            self._rest_news.clear()
            resting, self._resting = self._resting, set()
            await self._release(resting, after=FAILED_PAUSE)

    async def _release(
        self, execution_ids: Collection[str] | None = None, *, after: timedelta = timedelta(0)
    ) -> None:
        engine = self._engine
        async with engine.database.transaction() as connection:
            await release(connection, engine.database, engine.replica, execution_ids, after=after)


def _record(
    order: Start, execution_id: str, decision: Decision, owner: str | None, now: datetime
) -> ExecutionRecord:
    return ExecutionRecord(
        execution_id=execution_id,
        organization=order.organization,
        workflow_id=order.workflow.definition.id,
        version=order.workflow.version,
        requested_transition="",
        state=decision.state,
        owner=owner,
        epoch=1,
        inbox_seq=0,
        inbox_folded=0,
        input=order.input,
        output=decision.output,
        labels=order.labels,
        priority=order.priority,
        retry_of=order.retry_of,
        traceparent=order.traceparent,
        create_time=now,
    )


def _begin(order: Start, record: ExecutionRecord, decision: Decision) -> Begin:
    state = record.state
    return Begin(
        changes=Changes(
            execution_id=record.execution_id,
            state=state,
            owner=record.owner,
            wake_at=next_wake(state) if record.owner else record.create_time,
            output=decision.output,
            outputs=decision.outputs,
            history=decision.history,
            organization=record.organization,
            traceparent=record.traceparent,
            announcements=decision.announcements,
            time=record.create_time,
        ),
        workflow_id=record.workflow_id,
        version=record.version,
        input=record.input,
        labels=record.labels,
        priority=record.priority,
        retry_of=record.retry_of,
        request_id=order.request_id,
        newest=order.newest,
    )
