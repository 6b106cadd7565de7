"""Which events count, and what each of them measures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from brikk_monitoring.domain.measurement import Measurement, Status
from brikk_monitoring.domain.series import Dimension, Metric, is_value, series_name
from brikk_shared.errors import BrikkError, invalid_field

Members = Callable[[str], object]
"""Looks up a member of an event's data: a str, a float, or None when it is absent or neither."""

_MAX_AGENT_LENGTH: Final = 128
_AGENT: Final = re.compile(r"agents/([a-z](?:[a-z0-9-]*[a-z0-9])?)")
_PLACE: Final = re.compile(r"\[\d+\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Meaning:
    """What an event of one type counts as."""

    metric: Metric
    status: Status
    timed: bool = False
    """Whether `duration_ms` says how long it took."""
    call: Status | None = None
    """What became of the call that `agent` and `latency_ms` report; none without agent."""


def _ended(metric: Metric, status: Status, call: Status | None = None) -> _Meaning:
    return _Meaning(metric=metric, status=status, timed=True, call=call)


_MEANINGS: Final[Mapping[str, _Meaning]] = {
    "brikk.execution.started.v1": _Meaning(metric=Metric.EXECUTIONS, status=Status.STARTED),
    "brikk.execution.succeeded.v1": _ended(Metric.EXECUTIONS, Status.SUCCEEDED),
    "brikk.execution.failed.v1": _ended(Metric.EXECUTIONS, Status.FAILED),
    "brikk.execution.cancelled.v1": _ended(Metric.EXECUTIONS, Status.CANCELLED),
    "brikk.execution.terminated.v1": _ended(Metric.EXECUTIONS, Status.CANCELLED),
    "brikk.step.succeeded.v1": _ended(Metric.STEPS, Status.SUCCEEDED, Status.SUCCEEDED),
    "brikk.step.failed.v1": _ended(Metric.STEPS, Status.FAILED, Status.FAILED),
    "brikk.step.retrying.v1": _Meaning(
        metric=Metric.STEPS, status=Status.RETRIED, call=Status.FAILED
    ),
    "brikk.step.skipped.v1": _Meaning(metric=Metric.STEPS, status=Status.SKIPPED),
    "brikk.agent.registered.v1": _Meaning(metric=Metric.AGENTS, status=Status.REGISTERED),
    "brikk.agent.deregistered.v1": _Meaning(metric=Metric.AGENTS, status=Status.DEREGISTERED),
    "brikk.agent.expired.v1": _Meaning(metric=Metric.AGENTS, status=Status.EXPIRED),
    "brikk.agent.draining.v1": _Meaning(metric=Metric.AGENTS, status=Status.DRAINING),
    "brikk.agent.maintenance.v1": _Meaning(metric=Metric.AGENTS, status=Status.MAINTENANCE),
    "brikk.agent.resumed.v1": _Meaning(metric=Metric.AGENTS, status=Status.RESUMED),
    "brikk.delivery.succeeded.v1": _ended(Metric.DELIVERIES, Status.SUCCEEDED),
    "brikk.delivery.failed.v1": _ended(Metric.DELIVERIES, Status.FAILED),
    "brikk.delivery.retrying.v1": _ended(Metric.DELIVERIES, Status.RETRIED),
}


def measure(event_type: str, members: Members) -> tuple[Measurement, ...] | BrikkError:
    """Return what an event adds, nothing when its type does not count.

    Or the error, when a member that is needed is absent or wrong.
    """
    meaning = _MEANINGS.get(event_type)
    if meaning is None:
        return ()
    duration_ms = _duration(members, "duration_ms") if meaning.timed else None
    if isinstance(duration_ms, BrikkError):
        return duration_ms
    reason = _text(members, "reason") if meaning.status is Status.FAILED else ""
    subject = Measurement(
        series=_subject_series(meaning.metric, members),
        status=meaning.status,
        value=duration_ms,
        reason=reason,
        attempts=_amount(members, "attempts") if meaning.metric is Metric.STEPS else 0,
    )
    if meaning.call is None:
        return (subject,)
    agent = members("agent")
    if agent == "":
        return (subject,)
    series = _call_series(agent, members(Dimension.CAPABILITY)) if isinstance(agent, str) else ()
    if not series:
        return invalid_field("data.agent", "must be the full name of an agent, or empty")
    latency_ms = _duration(members, "latency_ms")
    if isinstance(latency_ms, BrikkError):
        return latency_ms
    return subject, Measurement(
        series=series,
        status=meaning.call,
        value=latency_ms,
        reason=_text(members, "reason") if meaning.call is Status.FAILED else "",
        tokens=_amount(members, "tokens"),
        cost_micros=_amount(members, "cost_micros"),
    )


def _subject_series(metric: Metric, members: Members) -> tuple[str, ...]:
    match metric:
        case Metric.EXECUTIONS:
            return _work_series(metric, members(Dimension.WORKFLOW), None)
        case Metric.STEPS:
            return _work_series(metric, members(Dimension.WORKFLOW), members(Dimension.STEP))
        case _:
            return (metric.value,)


# The same few names come with almost every event.


@lru_cache(maxsize=4096)
def _work_series(metric: Metric, workflow: object, step: object) -> tuple[str, ...]:
    """Name the series of an execution or a step: all, of its workflow, and of its step."""
    if not is_value(workflow):
        return (metric.value,)
    by_workflow = (metric.value, f"{metric.value};workflow={workflow}")
    # The rounds of a loop and the items of a map are one step: their places know no bound.
    if isinstance(step, str) and is_value(place := _PLACE.sub("[]", step)):
        return (*by_workflow, f"{by_workflow[1]};step={place}")
    return by_workflow


@lru_cache(maxsize=4096)
def _call_series(agent: str, capability: object) -> tuple[str, ...]:
    """Name the series of a call: all, of its agent, of its capability; none without an agent."""
    match = _AGENT.fullmatch(agent)
    if match is None or len(agent) > _MAX_AGENT_LENGTH:
        return ()
    series = (Metric.CALLS.value, series_name(Metric.CALLS, agent=match[1]))
    if is_value(capability):
        return (*series, f"{Metric.CALLS.value};capability={capability}")
    return series


def _text(members: Members, name: str) -> str:
    value = members(name)
    return value if isinstance(value, str) else ""


def _amount(members: Members, name: str) -> int:
    value = members(name)
    return int(value) if isinstance(value, float) and math.isfinite(value) and value > 0 else 0


def _duration(members: Members, name: str) -> float | BrikkError:
    value = members(name)
    if isinstance(value, float) and math.isfinite(value) and value >= 0:
        return value
    return invalid_field(f"data.{name}", "must be a number of milliseconds, 0 or more")
