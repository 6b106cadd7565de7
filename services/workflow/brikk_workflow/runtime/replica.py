"""This replica's share of the executions: starts some, claims what nobody runs, lets go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from brikk_shared.ids import new_id
from brikk_shared.leases import Lease, Leases
from brikk_workflow.domain.decider import decide
from brikk_workflow.domain.decision import Continue, Decision, Event, Values
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.state import next_wake
from brikk_workflow.runtime.admission import Admission
from brikk_workflow.runtime.claims import Claims
from brikk_workflow.runtime.definitions import Definitions
from brikk_workflow.runtime.engine import Engine
from brikk_workflow.runtime.inbox import Inbox
from brikk_workflow.runtime.placing import place_calls
from brikk_workflow.runtime.residents import Residents
from brikk_workflow.runtime.run import Run
from brikk_workflow.runtime.starts import Start
from brikk_workflow.store.ownership import release
from brikk_workflow.store.transitions import Begin, Changes

log = structlog.get_logger()


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
        reconcile_interval: timedelta,
        inbox_interval: timedelta,
        max_owned: int,
        max_running: int,
    ) -> None:
        self._engine = engine
        self._leases = leases
        self._lease_duration = lease_duration
        self._residents = Residents(engine, max_owned=max_owned)
        self._inbox = Inbox(engine, self._residents, interval=inbox_interval)
        self._claims = Claims(
            engine,
            definitions,
            self._residents,
            self._inbox,
            interval=claim_interval,
            reconcile_interval=reconcile_interval,
        )
        engine.rousing.subscribe(self._claims.hasten)
        self._admission = Admission(
            engine,
            self._residents,
            self._claims,
            max_running=max_running,
            interval=claim_interval,
        )
        self._residents.subscribe(self._admission.ended)
        engine.subworkflows.connect(self.start, self.poke)

    def loops(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Returns what has to run all the time, by name."""
        return {
            "replica": self._run,
            "inbox": self._inbox.run,
            "resting": self._residents.run_rests,
            "departures": self._engine.departures.run,
            "rousing": self._engine.rousing.run,
            "looking for agents": self._engine.rousing.look,
            "orphans": self._engine.subworkflows.reconcile,
        }

    async def start(self, order: Start) -> ExecutionRecord | None:
        """Begins an execution durably; None when the request id began one, or a version came.

        It is this replica's from the first commit on, so it needs no wake-up. When this replica
        has no room for it, anyone may claim it; when a limit has none, it queues.
        """
        organization = order.organization
        limited = order.workflow.definition.concurrency is not None
        if order.inherited is not None and not limited:
            # The one above holds a place already, and would wait for one that it may itself fill.
            return await self._begin(order, placed=True)
        if limited or not await self._admission.take(organization):
            record = await self._begin(order, placed=False)
            if record is not None:
                self._engine.metrics.admissions.labels("queued").inc()
                self._admission.queued(organization)
            return record
        try:
            return await self._begin(order, placed=True)
        finally:
            self._admission.committed(organization)

    async def _begin(self, order: Start, *, placed: bool) -> ExecutionRecord | None:
        execution_id = new_id()
        now = self._engine.clock.now()
        values = Values(execution=execution_id, input=order.input, outputs={})
        decision = order.decide(values, now=now, random=self._engine.random, queued=not placed)

        def follow(made: Decision, events: Sequence[Event]) -> Decision:
            return decide(
                order.workflow,
                made.state,
                events,
                values=values.after(made),
                now=now,
                random=self._engine.random,
            )

        decision, candidates = await place_calls(
            decision,
            directory=self._engine.directory,
            organization=order.organization,
            follow=follow,
        )
        room = placed and self._residents.free > 0
        record = _record(order, execution_id, decision, self._engine.replica if room else None, now)
        with self._residents.expecting(int(room)):
            written = await self._engine.commits.submit(_to_begin(order, record, decision))
            if not written.applied:
                return None
            record = replace(record, head=written.head)
            self._engine.outbox.wake()
            if record.owner is not None and not record.state.status.terminal:
                run = Run(self._engine, order.workflow, record, decision.outputs)
                if decision.unfinished:
                    run.post(Continue())
                self._residents.hold(run, decision.commands, candidates)
        return record

    def held(self, organization: str, execution_id: str) -> ExecutionRecord | None:
        """Returns an execution of an organisation as last committed, if this replica holds it."""
        run = self._residents.get(execution_id)
        return run.record if run and run.record.organization == organization else None

    def poke(self, execution_id: str) -> None:
        """Takes up at once what was asked of an execution, if it is held here or by nobody."""
        if execution_id in self._residents:
            self._inbox.hasten()
        else:
            self._claims.hasten()

    async def drain(self) -> None:
        """Claims nothing more, and lets go of each execution that has no call in flight."""
        await self._residents.drain()
        await self._release()

    async def _run(self) -> None:
        await self._leases.hold(self._engine.replica, self._lease_duration, self._while_live)

    async def _while_live(self, lease: Lease) -> None:
        log.info("replica is live", replica=lease.name, epoch=lease.epoch)
        # What it held before it lost its lease is not in memory any more.
        await self._release()
        self._residents.open()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._claims.run())
                group.create_task(self._claims.reconcile())
                group.create_task(self._admission.run())
        finally:
            self._residents.drop_all()

    async def _release(self) -> None:
        engine = self._engine
        async with engine.database.transaction() as connection:
            await release(connection, engine.database, engine.replica)


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
        placed=decision.state.admitted,
        traceparent=order.traceparent,
        create_time=now,
    )


def _to_begin(order: Start, record: ExecutionRecord, decision: Decision) -> Begin:
    state = record.state
    return Begin(
        changes=Changes(
            execution_id=record.execution_id,
            state=state,
            owner=record.owner,
            wake_at=next_wake(state) if record.owner or not record.placed else record.create_time,
            output=decision.output,
            outputs=decision.outputs,
            dropped=decision.dropped,
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
        concurrency=order.workflow.definition.concurrency,
        retry_of=record.retry_of,
        request_id=order.request_id,
        newest=order.newest,
    )
