"""What executions use, and the budgets that end them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brikk_shared.errors import Reason
from brikk_workflow.domain.decision import CallsLost
from brikk_workflow.domain.state import ExecutionStatus, StepStatus
from brikk_workflow.domain.usage import Usage
from support.play import CHAIN, JOIN, WRONG, Play, compiled


def bounded(text: str, budget: str) -> Play:
    return Play(compiled(f"budget: {budget}\n{text.lstrip()}"), {"text": "hi"})


def test_usage_adds_up_over_successes_and_failures() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(play.failed("a", usage=Usage(tokens=5, cost_micros=7)))
    assert play.history[-1].attributes["tokens"] == 5
    play.later(timedelta(milliseconds=200))
    play.tell(play.succeeded("a", text="HI", usage=Usage(tokens=10, cost_micros=1)))
    assert play.state.usage == Usage(tokens=15, cost_micros=8)
    assert play.state.calls == 3
    assert play.announced[-1][1]["cost_micros"] == 1
    play.tell(play.succeeded("b", text="x"))
    assert "tokens" not in play.history[-2].attributes


def test_a_call_for_which_nobody_was_there_is_not_counted() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(play.missing("a"))
    assert (play.state.calls, play.state.dispatches) == (0, 1)


def test_calls_made_again_after_a_crash_count() -> None:
    play = Play(compiled(JOIN))
    play.tell(CallsLost())
    assert play.state.calls == 4


@pytest.mark.parametrize(
    ("budget", "usage", "name", "limit"),
    [
        ("{calls: 1}", Usage(), "calls", "1"),
        ("{tokens: 100}", Usage(tokens=100), "tokens", "100"),
        ("{cost: 0.5}", Usage(cost_micros=500_001), "cost", "0.5"),
        ("{cost: 2, tokens: 9}", Usage(cost_micros=2_000_000), "cost", "2"),
    ],
)
def test_what_is_used_up_ends_the_execution_before_its_next_call(
    budget: str, usage: Usage, name: str, limit: str
) -> None:
    play = bounded(CHAIN, budget)
    play.tell(play.succeeded("a", text="HI", usage=usage))
    assert play.state.status is ExecutionStatus.FAILED
    assert play.last.commands == ()
    assert play.state.failure is not None
    assert play.state.failure.reason is Reason.BUDGET_EXCEEDED
    assert play.state.failure.code == "RESOURCE_EXHAUSTED"
    assert play.state.failure.metadata == {"budget": name, "limit": limit}
    assert play.announced[-1][1]["reason"] == "BUDGET_EXCEEDED"
    assert play.state.step("a").status is StepStatus.SUCCEEDED, "what was done stays done"


def test_a_budget_that_is_not_used_up_ends_nothing() -> None:
    play = bounded(CHAIN, "{calls: 2, tokens: 100, cost: 0.5}")
    play.tell(play.succeeded("a", text="HI", usage=Usage(tokens=99, cost_micros=499_999)))
    play.tell(play.succeeded("b", text="x", usage=Usage(tokens=1_000_000)))
    assert play.state.status is ExecutionStatus.SUCCEEDED


def test_siblings_are_cancelled_when_the_budget_is_used_up() -> None:
    play = bounded(JOIN, "{calls: 1}")
    assert play.state.status is ExecutionStatus.FAILED
    assert play.last.commands == (), "a call ordered in the same decision is never made"
    assert play.state.step("a").status is StepStatus.CANCELLED


def test_the_last_failure_matters_more_than_a_budget() -> None:
    play = bounded(CHAIN, "{tokens: 1}")
    play.tell(play.failed("a", WRONG, usage=Usage(tokens=10)))
    assert play.state.failure is not None
    assert play.state.failure.reason is Reason.STEP_FAILED
