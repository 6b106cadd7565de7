"""The plan of a schedule as JSON."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, NotRequired, TypedDict

from brikk_shared.calendar import Cron, Every, Timing
from brikk_shared.types import from_microseconds, to_microseconds
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.schedule import Overlap, Plan

_MICROSECOND = timedelta(microseconds=1)


class _CronJson(TypedDict):
    kind: Literal["cron"]
    expression: str
    zone: str


class _EveryJson(TypedDict):
    kind: Literal["every"]
    interval: int
    anchor: int


class PlanJson(TypedDict):
    """Times and durations are in microseconds."""

    description: str
    workflow: str
    input: dict[str, Json]
    tick_input: str
    labels: dict[str, str]
    priority: int
    timing: _CronJson | _EveryJson
    start: NotRequired[int]
    end: NotRequired[int]
    jitter: int
    overlap: str
    catchup: int
    max_runs: int
    pause_on_failure: NotRequired[bool]


def plan_to_json(plan: Plan) -> PlanJson:
    """Return what `plan_from_json` reads."""
    written = PlanJson(
        description=plan.description,
        workflow=plan.workflow,
        input=dict(plan.input),
        tick_input=plan.tick_input,
        labels=dict(plan.labels),
        priority=plan.priority,
        timing=_timing_to_json(plan.timing),
        jitter=plan.jitter // _MICROSECOND,
        overlap=plan.overlap.value,
        catchup=plan.catchup // _MICROSECOND,
        max_runs=plan.max_runs,
    )
    if plan.start is not None:
        written["start"] = to_microseconds(plan.start)
    if plan.end is not None:
        written["end"] = to_microseconds(plan.end)
    if plan.pause_on_failure:
        written["pause_on_failure"] = True
    return written


def plan_from_json(written: PlanJson) -> Plan:
    """Return the plan."""
    return Plan(
        description=written["description"],
        workflow=written["workflow"],
        input=written["input"],
        tick_input=written["tick_input"],
        labels=written["labels"],
        priority=written["priority"],
        timing=_timing_from_json(written["timing"]),
        start=_moment(written.get("start")),
        end=_moment(written.get("end")),
        jitter=written["jitter"] * _MICROSECOND,
        overlap=Overlap(written["overlap"]),
        catchup=written["catchup"] * _MICROSECOND,
        max_runs=written["max_runs"],
        pause_on_failure=written.get("pause_on_failure", False),
    )


def _timing_to_json(timing: Timing) -> _CronJson | _EveryJson:
    if isinstance(timing, Cron):
        return {"kind": "cron", "expression": timing.expression, "zone": timing.zone}
    return {
        "kind": "every",
        "interval": timing.interval // _MICROSECOND,
        "anchor": to_microseconds(timing.anchor),
    }


def _timing_from_json(written: _CronJson | _EveryJson) -> Timing:
    if written["kind"] == "cron":
        return Cron(expression=written["expression"], zone=written["zone"])
    return Every(
        interval=written["interval"] * _MICROSECOND, anchor=from_microseconds(written["anchor"])
    )


def _moment(written: int | None) -> datetime | None:
    return None if written is None else from_microseconds(written)
