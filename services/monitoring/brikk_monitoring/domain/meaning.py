"""Which events count, and what each of them measures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from brikk_monitoring.domain.measurement import EXECUTIONS, STEPS, Measurement, Status
from brikk_shared.errors import BrikkError, invalid_field

Members = Callable[[str], object]
"""Looks up a member of an event's data: a str, a float, or None when it is absent or neither."""

_MAX_AGENT_LENGTH: Final = 128
_AGENT: Final = re.compile(r"agents/[a-z]([a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Meaning:
    """What an event of one type counts as."""

    series: str
    status: Status
    timed: bool = False
    """Whether `duration_ms` says how long it took."""
    call: Status | None = None
    """What became of the call that `agent` and `latency_ms` report; none without agent."""


_MEANINGS: Final[Mapping[str, _Meaning]] = {
    "brikk.execution.started.v1": _Meaning(series=EXECUTIONS, status=Status.STARTED),
    "brikk.execution.succeeded.v1": _Meaning(
        series=EXECUTIONS, status=Status.SUCCEEDED, timed=True
    ),
    "brikk.execution.failed.v1": _Meaning(series=EXECUTIONS, status=Status.FAILED, timed=True),
    "brikk.execution.cancelled.v1": _Meaning(
        series=EXECUTIONS, status=Status.CANCELLED, timed=True
    ),
    "brikk.execution.terminated.v1": _Meaning(
        series=EXECUTIONS, status=Status.CANCELLED, timed=True
    ),
    "brikk.step.succeeded.v1": _Meaning(
        series=STEPS, status=Status.SUCCEEDED, timed=True, call=Status.SUCCEEDED
    ),
    "brikk.step.failed.v1": _Meaning(
        series=STEPS, status=Status.FAILED, timed=True, call=Status.FAILED
    ),
    "brikk.step.retrying.v1": _Meaning(series=STEPS, status=Status.RETRIED, call=Status.FAILED),
    "brikk.step.skipped.v1": _Meaning(series=STEPS, status=Status.SKIPPED),
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
    subject = Measurement(series=meaning.series, status=meaning.status, duration_ms=duration_ms)
    if meaning.call is None:
        return (subject,)
    agent = members("agent")
    if agent == "":
        return (subject,)
    if not isinstance(agent, str) or len(agent) > _MAX_AGENT_LENGTH or not _AGENT.fullmatch(agent):
        return invalid_field("data.agent", "must be the full name of an agent, or empty")
    latency_ms = _duration(members, "latency_ms")
    if isinstance(latency_ms, BrikkError):
        return latency_ms
    return subject, Measurement(series=agent, status=meaning.call, duration_ms=latency_ms)


def _duration(members: Members, name: str) -> float | BrikkError:
    value = members(name)
    if isinstance(value, float) and math.isfinite(value) and value >= 0:
        return value
    return invalid_field(f"data.{name}", "must be a number of milliseconds, 0 or more")
