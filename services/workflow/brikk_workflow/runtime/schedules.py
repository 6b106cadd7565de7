"""Decides the ticks of schedules and starts their executions, each once with many replicas.

A decision and the runs it leads to are one transaction; the executions start after it, under
request ids made of the tick. So whoever dies in between loses nothing, and who starts a run that
was started before is told of its execution.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.database import Database
from brikk_shared.errors import BrikkError, Unavailable, not_found
from brikk_shared.faults import reach
from brikk_workflow.domain.schedule import Cause, RunState, Schedule, make_run
from brikk_workflow.domain.schema import check_input
from brikk_workflow.domain.ticking import Turn, decide_ticks
from brikk_workflow.domain.wish import WishKind
from brikk_workflow.runtime.beginning import Beginner
from brikk_workflow.runtime.metrics import Metrics
from brikk_workflow.runtime.replica import Replica
from brikk_workflow.runtime.starts import Start
from brikk_workflow.store.schedule_runs import (
    DueRun,
    Settled,
    add_runs,
    begun_executions,
    count_waiting,
    drop_waiting_ticks,
    failed_runs,
    settle,
    take_due_runs,
)
from brikk_workflow.store.schedule_turns import (
    lock_due,
    promote,
    read_queues,
    running_executions,
    store_time,
    write_turns,
)
from brikk_workflow.store.schedules import change_schedule, get_schedule
from brikk_workflow.store.wishes import record_wish

log = structlog.get_logger()

BATCH = 100
"""Schedules that are decided, and runs that are started, at once."""
LABEL = "schedule"
"""Label of an execution that names its schedule."""


class Schedules:
    """This replica's part in the schedules of all organisations.

    Args:
        interval: how often it looks for ticks that are due.
        lease: when another may start a run that this replica has taken and not started.
    """

    def __init__(
        self,
        database: Database,
        replica: Replica,
        beginner: Beginner,
        metrics: Metrics,
        *,
        interval: timedelta,
        lease: timedelta,
    ) -> None:
        self._database = database
        self._replica = replica
        self._beginner = beginner
        self._metrics = metrics
        self._interval = interval
        self._lease = lease
        self._news = asyncio.Event()

    def hasten(self) -> None:
        """Looks at once: something may have become due."""
        self._news.set()

    async def run(self) -> None:
        """Decides and starts for ever, at once when told to, else every interval."""
        while True:
            try:
                more = await self.turn()
            except Unavailable as error:
                log.warning("store does not answer", reason=error.reason)
                more = False
            if not more:
                await self._rest()

    async def turn(self) -> bool:
        """Decides a batch of schedules and starts a batch of runs; tells whether more may be due.

        Raises:
            Unavailable: the store does not answer.
        """
        cancelled: Sequence[str] = ()
        turns: Sequence[Turn] = ()
        async with self._database.transaction() as connection:
            schedules = await lock_due(connection, self._database, limit=BATCH)
            if schedules:
                turns = await self._decide(connection, schedules)
                cancelled = await self._cancel(connection, turns)
            due = await take_due_runs(connection, self._database, lease=self._lease, limit=BATCH)
        if turns:
            reach("schedule.decided")
        for each in turns:
            self._count("run", len(each.queue.start) + len(each.queue.wait))
            self._count("skipped", each.skipped)
            self._count("missed", each.missed)
        for execution_id in cancelled:
            self._replica.poke(execution_id)
        if due:
            await self._begin(due)
        return max(len(schedules), len(due)) >= BATCH or any(each.behind for each in turns)

    async def check(self, schedule: Schedule) -> None:
        """Makes sure that a schedule has something to start.

        Raises:
            NotFound: the workflow does not exist.
            InvalidArgument: INVALID_INPUT, it does not accept the input.
        """
        order = await self._order(schedule, schedule.position, request_id="")
        if order.workflow.input_schema is not None:
            workflow_id = order.workflow.definition.id
            check_input(order.workflow.input_schema, order.input, workflow_id)

    async def trigger(self, organization: str, schedule_id: str, request_id: str) -> str:
        """Starts an execution of a schedule now and returns its id; once for a request id.

        Raises:
            NotFound: there is no such schedule, or no such workflow.
            InvalidArgument: its workflow does not accept the input.
            Unavailable: the store does not answer; the execution may start all the same.
        """
        async with self._database.transaction() as connection:
            schedule = await get_schedule(connection, organization, schedule_id, lock=True)
            if schedule is None:
                raise not_found(f"schedules/{schedule_id}")
            now = await store_time(connection, self._database)
            run = make_run(schedule, Cause.TRIGGER, now, RunState.PENDING, request_id=request_id)
            await add_runs(
                connection, self._database, [(schedule.uid, run)], attempt_after=self._lease
            )
        outcome = (await self._begin([DueRun(schedule=schedule, run=run)]))[run.key]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def _decide(
        self, connection: AsyncConnection, schedules: Sequence[Schedule]
    ) -> Sequence[Turn]:
        schedules = await self._halt_failing(connection, schedules)
        uids = [each.uid for each in schedules]
        await promote(connection, self._database, uids)
        queues = await read_queues(connection, uids)
        now = await store_time(connection, self._database)
        turns = [decide_ticks(each, queues[each.uid], now) for each in schedules]
        await write_turns(connection, self._database, turns)
        return turns

    async def _halt_failing(
        self, connection: AsyncConnection, schedules: Sequence[Schedule]
    ) -> Sequence[Schedule]:
        """Pauses those of which a run failed that are to be paused then; returns the others."""
        wary = [each.uid for each in schedules if each.plan.pause_on_failure and not each.paused]
        failures = await failed_runs(connection, wary) if wary else {}
        if not failures:
            return schedules
        waiting = await count_waiting(connection, failures)
        await drop_waiting_ticks(connection, failures)
        now = await store_time(connection, self._database)
        for each in schedules:
            if each.uid in failures:
                dropped = waiting.get((each.uid, Cause.TICK), 0)
                halted = each.halted(failures[each.uid], dropped, now)
                await change_schedule(connection, halted)
                self._count("skipped", dropped)
        return [each for each in schedules if each.uid not in failures]

    async def _cancel(self, connection: AsyncConnection, turns: Sequence[Turn]) -> Sequence[str]:
        """Asks for the end of what runs where a tick displaces it; returns the executions."""
        displacing = {each.schedule.uid: each.schedule for each in turns if each.queue.cancel}
        if not displacing:
            return ()
        running = await running_executions(connection, list(displacing))
        now = await store_time(connection, self._database)
        for uid, execution_id in running:
            schedule = displacing[uid]
            await record_wish(
                connection,
                self._database,
                schedule.organization,
                execution_id,
                kind=WishKind.CANCEL,
                attributes={"reason": f"the next run of schedules/{schedule.schedule_id} is due"},
                # The wish stands until the execution has ended, however many ticks come meanwhile.
                request_id=f"schedule/{uid}",
                now=now,
            )
        return [execution_id for _, execution_id in running]

    async def _begin(self, due: Sequence[DueRun]) -> Mapping[str, str | BaseException]:
        """Starts executions; returns by key the id of each, or why there is none."""
        async with self._database.reading() as connection:
            outcomes: dict[str, str | BaseException] = {**await begun_executions(connection, due)}
        new = [each for each in due if each.run.key not in outcomes]
        results = await asyncio.gather(*(self._start(each) for each in new), return_exceptions=True)
        outcomes |= {each.run.key: result for each, result in zip(new, results, strict=True)}
        reach("schedule.started")
        await self._settle(due, outcomes)
        return outcomes

    async def _start(self, due: DueRun) -> str:
        schedule, run = due.schedule, due.run
        record = await self._beginner.begin(
            lambda: self._order(schedule, run.tick, request_id=run.key)
        )
        return record.execution_id

    async def _order(self, schedule: Schedule, tick: datetime, *, request_id: str) -> Start:
        plan = schedule.plan
        workflow, newest = await self._beginner.version(schedule.organization, plan.workflow)
        return Start(
            organization=schedule.organization,
            workflow=workflow,
            newest=newest,
            input=schedule.input_at(tick),
            labels={**plan.labels, LABEL: schedule.schedule_id},
            priority=plan.priority,
            request_id=request_id,
            traceparent="",
        )

    async def _settle(
        self, due: Sequence[DueRun], outcomes: Mapping[str, str | BaseException]
    ) -> None:
        settled = []
        for each in due:
            key = each.run.key
            outcome = outcomes[key]
            if isinstance(outcome, str):
                settled.append(Settled(uid=each.schedule.uid, key=key, execution_id=outcome))
            elif isinstance(outcome, BrikkError) and not isinstance(outcome, Unavailable):
                settled.append(
                    Settled(uid=each.schedule.uid, key=key, execution_id="", error=outcome.message)
                )
            else:
                # Somebody tries again once the lease of this trial has ended.
                log.error("scheduled run was not started", run=key, exc_info=outcome)
        if settled:
            async with self._database.transaction() as connection:
                await settle(connection, self._database, settled)
            self._count("failed", sum(1 for each in settled if each.error))

    def _count(self, outcome: str, ticks: int) -> None:
        self._metrics.ticks.labels(outcome).inc(ticks)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._interval.total_seconds()):
                await self._news.wait()
        self._news.clear()
