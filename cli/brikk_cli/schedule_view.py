"""How schedules look to people."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType

from brikk.workflow.v1 import schedule_pb2 as pb
from brikk_cli.render import duration, moment, plain, state, table


def schedules_table(schedules: Iterable[pb.Schedule]) -> RenderableType:
    """Schedules in lines."""
    rows = (
        (
            each.name,
            state(pb.Schedule.State.Name(each.state)),
            each.workflow,
            _timing(each),
            moment(each.next_times[0]) if each.next_times else "",
            each.description,
        )
        for each in schedules
    )
    return table(("schedule", "state", "workflow", "ticks", "next", "description"), rows)


def schedule_view(schedule: pb.Schedule) -> RenderableType:
    """A schedule with its next ticks and its newest runs."""
    stands = state(pb.Schedule.State.Name(schedule.state))
    head = plain(f"{schedule.name}: ").append_text(stands)
    if schedule.state_reason:
        head.append_text(plain(f": {schedule.state_reason}"))
    counts = schedule.counts
    overlap = pb.Schedule.OverlapPolicy.Name(schedule.overlap_policy)
    facts = {
        "starts": schedule.workflow,
        "ticks": _timing(schedule),
        "next": ", ".join(moment(each) for each in schedule.next_times) or "never",
        "overlap": _words(overlap.removeprefix("OVERLAP_POLICY_")),
        "made up for": duration(schedule.catchup_window.ToTimedelta()),
        "so far": f"{counts.runs} runs, {counts.skipped} skipped, {counts.missed} missed, "
        f"{counts.failed} failed",
    }
    lines = [plain(f"{name}: {fact}") for name, fact in facts.items()]
    runs = [
        (
            moment(each.tick_time),
            _words(pb.ScheduleRun.Cause.Name(each.cause).removeprefix("CAUSE_")),
            state(pb.ScheduleRun.State.Name(each.state)),
            each.execution or each.error,
        )
        for each in schedule.recent_runs
    ]
    columns = ("tick", "cause", "state", "execution")
    return Group(head, *lines, *([table(columns, runs)] if runs else []))


def _timing(schedule: pb.Schedule) -> str:
    if schedule.HasField("cron"):
        return f"{schedule.cron.expression} {schedule.cron.time_zone}"
    return f"every {duration(schedule.interval.every.ToTimedelta())}"


def _words(name: str) -> str:
    return name.lower().replace("_", " ")
