"""The verbs of ScheduleService: pause and resume, and runs beside the ticks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.workflow.v1 import execution_pb2, schedule_pb2
from brikk.workflow.v1 import schedule_service_pb2 as pb
from brikk.workflow.v1.schedule_service_pb2_grpc import ScheduleServiceServicer
from brikk_shared.call import organization
from brikk_shared.database import Database
from brikk_shared.errors import Reason, ResourceExhausted, invalid_field, not_found
from brikk_shared.ids import new_id
from brikk_workflow.api.execution_messages import to_execution
from brikk_workflow.api.parts import Context
from brikk_workflow.api.schedule_messages import to_overlap, to_schedule
from brikk_workflow.domain.schedule import Cause, Overlap, RunState, Schedule, make_run
from brikk_workflow.domain.ticking import MAX_WAITING
from brikk_workflow.runtime.schedules import Schedules
from brikk_workflow.store import executions, schedule_runs, schedules
from brikk_workflow.store.schedule_turns import store_time

MAX_BACKFILL = 1000
"""Most ticks of one backfill."""
_MICROSECOND = timedelta(microseconds=1)


class ScheduleVerbs(ScheduleServiceServicer):
    """Each answers once its effect is recorded; by the store's clock, as the ticks go."""

    def __init__(self, database: Database, running: Schedules) -> None:
        self._database = database
        self._running = running

    async def PauseSchedule(
        self, request: pb.PauseScheduleRequest, context: Context
    ) -> schedule_pb2.Schedule:
        """Lets ticks pass."""
        async with self._database.transaction() as connection:
            current = await read_schedule(connection, request.name, lock=True)
            if not current.paused or current.reason != request.reason:
                dropped = await schedule_runs.drop_waiting_ticks(connection, [current.uid])
                now = await store_time(connection, self._database)
                current = current.halted(request.reason, dropped, now)
                await schedules.change_schedule(connection, current)
            runs = await schedule_runs.list_runs(connection, current.uid)
        return to_schedule(current, runs)

    async def ResumeSchedule(
        self, request: pb.ResumeScheduleRequest, context: Context
    ) -> schedule_pb2.Schedule:
        """Lets it tick again from now on."""
        async with self._database.transaction() as connection:
            current = await read_schedule(connection, request.name, lock=True)
            if current.paused:
                now = await store_time(connection, self._database)
                current = replace(current, paused=False, reason="", position=now).revised(now)
                await schedules.change_schedule(connection, current)
            runs = await schedule_runs.list_runs(connection, current.uid)
        return to_schedule(current, runs)

    async def TriggerSchedule(
        self, request: pb.TriggerScheduleRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Starts an execution now."""
        execution_id = await self._running.trigger(
            organization(), schedule_id_of(request.name), request.request_id or new_id()
        )
        async with self._database.reading() as connection:
            record = await executions.get_execution(connection, organization(), execution_id)
        if record is None:
            raise not_found(f"executions/{execution_id}")
        return to_execution(record)

    async def BackfillSchedule(
        self, request: pb.BackfillScheduleRequest, context: Context
    ) -> pb.BackfillScheduleResponse:
        """Records the runs of a window."""
        overlap = to_overlap(request.overlap_policy, Overlap.BUFFER_ALL)
        if overlap not in (Overlap.BUFFER_ALL, Overlap.ALLOW_ALL):
            raise invalid_field("overlap_policy", "must be BUFFER_ALL or ALLOW_ALL")
        state = RunState.WAITING if overlap is Overlap.BUFFER_ALL else RunState.PENDING
        request_id = request.request_id or new_id()
        async with self._database.transaction() as connection:
            current = await read_schedule(connection, request.name, lock=True)
            now = await store_time(connection, self._database)
            ticks = _window(current, request, now)
            runs = [
                (current.uid, make_run(current, Cause.BACKFILL, tick, state, request_id=request_id))
                for tick in ticks
            ]
            await schedule_runs.add_runs(connection, self._database, runs)
            # With them, for those that the same request added before are not there twice.
            waiting = await schedule_runs.count_waiting(connection, [current.uid])
            if sum(waiting.values()) > MAX_WAITING:
                raise ResourceExhausted(
                    Reason.QUOTA_EXCEEDED,
                    f"at most {MAX_WAITING} runs of {request.name} may wait for their turn",
                    metadata={
                        "resource": request.name,
                        "quota": "waiting_runs",
                        "limit": str(MAX_WAITING),
                    },
                )
        self._running.hasten()
        return pb.BackfillScheduleResponse(ticks=len(ticks))


async def read_schedule(connection: AsyncConnection, name: str, *, lock: bool = False) -> Schedule:
    """Returns a schedule of the caller's organisation.

    Raises:
        NotFound: there is none of this name.
    """
    found = await schedules.get_schedule(
        connection, organization(), schedule_id_of(name), lock=lock
    )
    if found is None:
        raise not_found(name)
    return found


def schedule_id_of(name: str) -> str:
    """Returns the last segment of a schedule's name."""
    return name.removeprefix("schedules/")


def _window(
    schedule: Schedule, request: pb.BackfillScheduleRequest, now: datetime
) -> Sequence[datetime]:
    start = request.start_time.ToDatetime(UTC)
    end = request.end_time.ToDatetime(UTC)
    if end <= start:
        raise invalid_field("end_time", "must be later than start_time")
    if end > now:
        raise invalid_field("end_time", f"must not be later than now, {now:%Y-%m-%dT%H:%M:%SZ}")
    if start.year < 1970:
        raise invalid_field("start_time", "must not be earlier than 1970")
    coming = takewhile(lambda tick: tick < end, schedule.plan.timing.ticks(start - _MICROSECOND))
    ticks = list(islice(coming, MAX_BACKFILL + 1))
    if len(ticks) > MAX_BACKFILL:
        raise invalid_field(
            "end_time",
            f"leaves more than {MAX_BACKFILL} ticks in the window: the first {MAX_BACKFILL} end"
            f" before {ticks[-1]:%Y-%m-%dT%H:%M:%SZ}",
        )
    return ticks
