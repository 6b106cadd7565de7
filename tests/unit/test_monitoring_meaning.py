"""Which events count, as what, and which are refused for the members they lack."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from brikk_monitoring.domain.meaning import measure
from brikk_monitoring.domain.measurement import Measurement, Status
from brikk_shared.errors import BrikkError, Reason

STEP = {"agent": "agents/reader", "duration_ms": 30.0, "latency_ms": 12.0}


def measured(event_type: str, data: Mapping[str, object]) -> tuple[Measurement, ...]:
    result = measure(event_type, data.get)
    assert not isinstance(result, BrikkError)
    return result


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_an_ended_execution_is_counted_and_timed(status: str) -> None:
    assert measured(f"brikk.execution.{status}.v1", {"duration_ms": 5.5}) == (
        Measurement(series=("executions",), status=Status(status), value=5.5),
    )


def test_a_terminated_execution_ended_on_request_too() -> None:
    assert measured("brikk.execution.terminated.v1", {"duration_ms": 5.5}) == (
        Measurement(series=("executions",), status=Status.CANCELLED, value=5.5),
    )


def test_a_started_execution_is_counted() -> None:
    assert measured("brikk.execution.started.v1", {}) == (
        Measurement(series=("executions",), status=Status.STARTED),
    )


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_an_ended_step_is_also_a_call_of_its_agent(status: str) -> None:
    assert measured(f"brikk.step.{status}.v1", STEP) == (
        Measurement(series=("steps",), status=Status(status), value=30.0),
        Measurement(series=("calls", "calls;agent=reader"), status=Status(status), value=12.0),
    )


def test_a_failed_attempt_is_a_failed_call_and_a_retried_step() -> None:
    assert measured("brikk.step.retrying.v1", {"agent": "agents/r", "latency_ms": 7.0}) == (
        Measurement(series=("steps",), status=Status.RETRIED),
        Measurement(series=("calls", "calls;agent=r"), status=Status.FAILED, value=7.0),
    )


def test_a_step_that_reached_no_agent_is_no_call() -> None:
    assert measured("brikk.step.failed.v1", {"agent": "", "duration_ms": 1.0}) == (
        Measurement(series=("steps",), status=Status.FAILED, value=1.0),
    )


def test_a_skipped_step_is_counted() -> None:
    assert measured("brikk.step.skipped.v1", {}) == (
        Measurement(series=("steps",), status=Status.SKIPPED),
    )


def test_a_step_counts_for_its_workflow_its_agent_and_its_capability() -> None:
    data = {
        **STEP,
        "workflow": "triage",
        "step": "each[12].read",
        "capability": "text.read",
        "reason": "AGENT_FAILED",
        "attempts": 3.0,
        "tokens": 120.0,
        "cost_micros": 45.0,
    }
    assert measured("brikk.step.failed.v1", data) == (
        Measurement(
            series=("steps", "steps;workflow=triage", "steps;workflow=triage;step=each[].read"),
            status=Status.FAILED,
            value=30.0,
            reason="AGENT_FAILED",
            attempts=3,
        ),
        Measurement(
            series=("calls", "calls;agent=reader", "calls;capability=text.read"),
            status=Status.FAILED,
            value=12.0,
            reason="AGENT_FAILED",
            tokens=120,
            cost_micros=45,
        ),
    )


@pytest.mark.parametrize("workflow", ["", "-", "a;b", "a=b", "a\n", "a" * 129, 5.0, None])
def test_what_cannot_name_a_series_counts_without_it(workflow: object) -> None:
    assert measured("brikk.execution.started.v1", {"workflow": workflow}) == (
        Measurement(series=("executions",), status=Status.STARTED),
    )


def test_states_of_agents_and_deliveries_are_counted() -> None:
    assert measured("brikk.agent.expired.v1", {"agent": "agents/a"}) == (
        Measurement(series=("agents",), status=Status.EXPIRED),
    )
    for state in (Status.DRAINING, Status.MAINTENANCE, Status.RESUMED):
        assert measured(f"brikk.agent.{state}.v1", {"agent": "agents/a"}) == (
            Measurement(series=("agents",), status=state),
        )
    assert measured("brikk.delivery.retrying.v1", {"duration_ms": 8.0}) == (
        Measurement(series=("deliveries",), status=Status.RETRIED, value=8.0),
    )


@pytest.mark.parametrize(
    "event_type",
    [
        "brikk.agent.drained.v1",
        "brikk.execution.paused.v1",
        "brikk.execution.quarantined.v1",
        "brikk.execution.resumed.v1",
        "brikk.step.cancelled.v1",
        "brikk.step.failed.v2",
        "",
    ],
)
def test_other_types_do_not_count(event_type: str) -> None:
    assert measured(event_type, {"duration_ms": "junk"}) == ()


@pytest.mark.parametrize("value", [None, "5", True, -0.001, math.nan, math.inf])
@pytest.mark.parametrize("member", ["duration_ms", "latency_ms"])
def test_a_duration_that_is_none_is_refused(member: str, value: object) -> None:
    error = measure("brikk.step.succeeded.v1", {**STEP, member: value}.get)
    assert isinstance(error, BrikkError)
    assert error.reason is Reason.INVALID_FIELD
    assert [violation.field for violation in error.violations] == [f"data.{member}"]


@pytest.mark.parametrize(
    "agent",
    [
        None,
        5.0,
        "reader",
        "agents/",
        "agents/Reader",
        "agents/r:1",
        "agents/r\n",
        "agents/" + "a" * 122,
        "agents/-",
    ],
)
def test_an_agent_that_is_none_is_refused(agent: object) -> None:
    error = measure("brikk.step.succeeded.v1", {**STEP, "agent": agent}.get)
    assert isinstance(error, BrikkError)
    assert [violation.field for violation in error.violations] == ["data.agent"]
