"""ScheduleService as a whole, and the methods that write and read schedules."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime

from google.protobuf import empty_pb2
from google.protobuf.message import Message

from brikk.workflow.v1 import schedule_pb2
from brikk.workflow.v1 import schedule_service_pb2 as pb
from brikk_shared.call import organization
from brikk_shared.database import Database
from brikk_shared.errors import Aborted, Reason, invalid_field, not_found
from brikk_shared.ids import new_id
from brikk_shared.pagination import cut, page_of
from brikk_shared.validator import validate
from brikk_workflow.api.parts import Context
from brikk_workflow.api.schedule_messages import (
    read_plan,
    to_listed_schedule,
    to_plan_message,
    to_schedule,
)
from brikk_workflow.api.schedule_verbs import (
    ScheduleVerbs,
    read_schedule,
    schedule_id_of,
)
from brikk_workflow.domain.schedule import Counts, Schedule
from brikk_workflow.runtime.schedules import Schedules
from brikk_workflow.store import schedule_runs, schedules
from brikk_workflow.store.schedule_turns import store_time

_WRITABLE = frozenset(
    {
        "description",
        "workflow",
        "input",
        "tick_input",
        "labels",
        "priority",
        "cron",
        "interval",
        "start_time",
        "end_time",
        "jitter",
        "overlap_policy",
        "catchup_window",
        "max_runs",
        "pause_on_failure",
    }
)


class ScheduleServicer(ScheduleVerbs):
    """All methods, of the schedules of the caller's organisation: at most `quota`."""

    def __init__(self, database: Database, running: Schedules, *, quota: int) -> None:
        super().__init__(database, running)
        self._quota = quota

    async def CreateSchedule(
        self, request: pb.CreateScheduleRequest, context: Context
    ) -> schedule_pb2.Schedule:
        """Adds one, or finds what the request id added before."""
        async with self._database.reading() as connection:
            now = await store_time(connection, self._database)
        schedule = _new(request, now)
        if schedule.next_time is None:
            raise invalid_field("schedule.end_time", "comes before the first tick")
        await self._running.check(schedule)
        async with self._database.transaction() as connection:
            kept = await schedules.add_schedule(
                connection,
                schedule,
                request_id=request.request_id,
                request_digest=hashlib.sha256(
                    request.SerializeToString(deterministic=True)
                ).digest(),
                quota=self._quota,
                dry=request.validate_only,
            )
            return to_schedule(kept, await schedule_runs.list_runs(connection, kept.uid))

    async def GetSchedule(
        self, request: pb.GetScheduleRequest, context: Context
    ) -> schedule_pb2.Schedule:
        """Reads one."""
        async with self._database.reading() as connection:
            schedule = await read_schedule(connection, request.name)
            return to_schedule(schedule, await schedule_runs.list_runs(connection, schedule.uid))

    async def ListSchedules(
        self, request: pb.ListSchedulesRequest, context: Context
    ) -> pb.ListSchedulesResponse:
        """Reads a page."""
        page = page_of(request)
        async with self._database.reading() as connection:
            found = await schedules.list_schedules(
                connection, organization(), after=page.cursor, limit=page.size + 1
            )
        shown, token = cut(request, page, found, lambda each: each.schedule_id)
        return pb.ListSchedulesResponse(
            schedules=[to_listed_schedule(each) for each in shown],
            next_page_token=token,
        )

    async def UpdateSchedule(
        self, request: pb.UpdateScheduleRequest, context: Context
    ) -> schedule_pb2.Schedule:
        """Changes one; new ticks begin now, the same ones go on."""
        async with self._database.reading() as connection:
            read = await read_schedule(connection, request.name)
        changed = replace(read, plan=read_plan(_merged(read, request)))
        await self._running.check(changed)
        async with self._database.transaction() as connection:
            current = await read_schedule(connection, request.name, lock=True)
            if request.etag and request.etag != current.etag:
                raise Aborted(
                    Reason.ETAG_MISMATCH,
                    f"{request.name} is at etag {current.etag}: read it again",
                    metadata={"resource": request.name, "etag": current.etag},
                )
            plan = read_plan(_merged(current, request))
            if plan != current.plan:
                now = await store_time(connection, self._database)
                # Ticks that nobody was to decide are not made up for.
                goes_on = current.next_time is not None and plan.same_ticks(current.plan)
                position = current.position if goes_on else now
                current = replace(current, plan=plan, position=position).revised(now)
                if not request.validate_only:
                    await schedules.change_schedule(connection, current)
            runs = await schedule_runs.list_runs(connection, current.uid)
        return to_schedule(current, runs)

    async def DeleteSchedule(
        self, request: pb.DeleteScheduleRequest, context: Context
    ) -> empty_pb2.Empty:
        """Forgets one."""
        async with self._database.transaction() as connection:
            if not await schedules.delete_schedule(
                connection, organization(), schedule_id_of(request.name)
            ):
                raise not_found(request.name)
        return empty_pb2.Empty()


def _new(request: pb.CreateScheduleRequest, now: datetime) -> Schedule:
    schedule = Schedule(
        organization=organization(),
        schedule_id=request.schedule_id or new_id(),
        uid=new_id(),
        plan=read_plan(request.schedule),
        paused=False,
        reason="",
        revision=0,
        counts=Counts(),
        position=now,
        next_time=None,
        create_time=now,
        update_time=now,
    )
    return schedule.revised(now)


def _merged(current: Schedule, request: pb.UpdateScheduleRequest) -> schedule_pb2.Schedule:
    """Returns the schedule as the request wants it, within the limits of the contract."""
    given = request.schedule
    paths = set(request.update_mask.paths) or {
        field.name for field, _ in given.ListFields() if field.name in _WRITABLE
    }
    unknown = sorted(paths - _WRITABLE)
    if unknown:
        raise invalid_field("update_mask", f"names {unknown[0]}, which nobody can write")
    merged = to_plan_message(current.plan)
    part = schedule_pb2.Schedule()
    part.CopyFrom(given)
    for field in schedule_pb2.Schedule.DESCRIPTOR.fields:
        replaced: Message = merged if field.name in paths else part
        replaced.ClearField(field.name)
    merged.MergeFrom(part)
    validate(pb.CreateScheduleRequest(schedule=merged))
    return merged
