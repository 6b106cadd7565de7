"""Schedules between their message and the domain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf import timestamp_pb2

from brikk.workflow.v1 import schedule_pb2 as pb
from brikk_shared.calendar import EPOCH, Cron, Every, Timing, read_cron, zone_problem
from brikk_shared.errors import invalid_field
from brikk_shared.structs import from_struct, to_struct
from brikk_shared.times import to_duration, to_timestamp
from brikk_workflow.api.starting import DEFAULT_PRIORITY
from brikk_workflow.domain.schedule import (
    LAST_YEAR,
    Overlap,
    Plan,
    Schedule,
    ScheduleRun,
)

SHOWN_TICKS = 5
"""Ticks to come that a schedule is shown with."""
DEFAULT_CATCHUP = timedelta(hours=1)
_NO_ZONE = "UTC"


def read_plan(message: pb.Schedule) -> Plan:
    """Returns what a message asks for; the contract's limits hold already.

    Raises:
        InvalidArgument: INVALID_FIELD, it has no such timing.
    """
    start = _moment(message, "start_time")
    end = _moment(message, "end_time")
    if start is not None and end is not None and end <= start:
        raise invalid_field("schedule.end_time", "must be later than start_time")
    return Plan(
        description=message.description,
        workflow=message.workflow,
        input=from_struct(message.input),
        tick_input=message.tick_input,
        labels=dict(message.labels),
        priority=message.priority if message.HasField("priority") else DEFAULT_PRIORITY,
        timing=_read_timing(message),
        start=start,
        end=end,
        jitter=message.jitter.ToTimedelta(),
        overlap=to_overlap(message.overlap_policy, Overlap.SKIP),
        catchup=(
            message.catchup_window.ToTimedelta()
            if message.HasField("catchup_window")
            else DEFAULT_CATCHUP
        ),
        max_runs=message.max_runs,
        pause_on_failure=message.pause_on_failure,
    )


def to_overlap(policy: pb.Schedule.OverlapPolicy.ValueType, default: Overlap) -> Overlap:
    """Returns the policy of a number, or what it stands for when it is unset."""
    if not policy:
        return default
    name = pb.Schedule.OverlapPolicy.Name(policy)
    return Overlap[name.removeprefix("OVERLAP_POLICY_")]


def to_plan_message(plan: Plan, *, with_input: bool = True) -> pb.Schedule:
    """Returns what people can write of a schedule, with its defaults spelt out."""
    message = pb.Schedule(
        description=plan.description,
        workflow=plan.workflow,
        tick_input=plan.tick_input,
        labels=plan.labels,
        priority=plan.priority,
        start_time=to_timestamp(plan.start),
        end_time=to_timestamp(plan.end),
        jitter=to_duration(plan.jitter),
        overlap_policy=pb.Schedule.OverlapPolicy.Value(f"OVERLAP_POLICY_{plan.overlap.name}"),
        catchup_window=to_duration(plan.catchup),
        max_runs=plan.max_runs,
        pause_on_failure=plan.pause_on_failure,
    )
    if with_input:
        message.input.CopyFrom(to_struct(plan.input))
    if isinstance(plan.timing, Cron):
        message.cron.expression = plan.timing.expression
        message.cron.time_zone = plan.timing.zone
    else:
        message.interval.every.FromTimedelta(plan.timing.interval)
        message.interval.anchor.FromDatetime(plan.timing.anchor)
    return message


def to_listed_schedule(schedule: Schedule) -> pb.Schedule:
    """Returns a schedule as lists show it."""
    return _to_schedule(schedule, ticks=1, with_input=False)


def to_schedule(schedule: Schedule, runs: Sequence[ScheduleRun]) -> pb.Schedule:
    """Returns a schedule with its newest runs."""
    message = _to_schedule(schedule, ticks=SHOWN_TICKS, with_input=True)
    message.recent_runs.extend(_to_run(run) for run in runs)
    return message


def _to_schedule(schedule: Schedule, *, ticks: int, with_input: bool) -> pb.Schedule:
    message = to_plan_message(schedule.plan, with_input=with_input)
    message.name = f"schedules/{schedule.schedule_id}"
    message.state = pb.Schedule.State.Value(f"STATE_{schedule.state.name}")
    message.state_reason = schedule.reason
    message.next_times.extend(
        timestamp for tick in schedule.coming(ticks) if (timestamp := to_timestamp(tick))
    )
    counts = schedule.counts
    message.counts.runs, message.counts.skipped = counts.runs, counts.skipped
    message.counts.missed, message.counts.failed = counts.missed, counts.failed
    message.etag = schedule.etag
    message.create_time.FromDatetime(schedule.create_time)
    message.update_time.FromDatetime(schedule.update_time)
    return message


def _to_run(run: ScheduleRun) -> pb.ScheduleRun:
    return pb.ScheduleRun(
        tick_time=to_timestamp(run.tick),
        cause=pb.ScheduleRun.Cause.Value(f"CAUSE_{run.cause.name}"),
        state=pb.ScheduleRun.State.Value(f"STATE_{run.state.name}"),
        execution=f"executions/{run.execution_id}" if run.execution_id else "",
        error=run.error,
    )


def _read_timing(message: pb.Schedule) -> Timing:
    match message.WhichOneof("timing"):
        case "cron":
            zone = message.cron.time_zone or _NO_ZONE
            problem = zone_problem(zone)
            if problem is not None:
                raise invalid_field("schedule.cron.time_zone", problem)
            try:
                return read_cron(message.cron.expression, zone)
            except ValueError as error:
                raise invalid_field("schedule.cron.expression", str(error)) from None
        case "interval":
            anchor = message.interval.anchor
            return Every(
                interval=message.interval.every.ToTimedelta(),
                anchor=_in_time(anchor, "schedule.interval.anchor") if anchor.ByteSize() else EPOCH,
            )
        case _:
            raise invalid_field("schedule", "must say when it ticks: by cron or interval")


def _moment(message: pb.Schedule, field: str) -> datetime | None:
    if not message.HasField(field):  # type: ignore[arg-type]  # a name of the two below
        return None
    return _in_time(getattr(message, field), f"schedule.{field}")


def _in_time(timestamp: timestamp_pb2.Timestamp, field: str) -> datetime:
    moment = timestamp.ToDatetime(UTC)
    if not EPOCH.year <= moment.year <= LAST_YEAR:
        raise invalid_field(field, f"must lie in the years {EPOCH.year} to {LAST_YEAR}")
    return moment
