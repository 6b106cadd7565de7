"""Steps that somebody has skipped: done without their call, with an output if one is given."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brikk_workflow.domain.decision import (
    AgentMissing,
    CallsLost,
    CancelCall,
    Event,
    PauseRequested,
    ResumeRequested,
    SkipRequested,
    Suspended,
)
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.state import ExecutionStatus, StepStatus
from support.play import BUSY, CHAIN, JOIN, Play, compiled

DEFECT = Failure(code="INTERNAL", reason=BUSY.reason, message="a defect")


def skip(step: str, **output: str) -> SkipRequested:
    return SkipRequested(step_id=step, output=output or None, by="users/eve", reason="by hand")


def test_a_step_that_is_called_is_done_with_the_output_that_is_given() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    token = play.state.step("a").token
    late = play.succeeded("a", text="HI")
    decision = play.tell(skip("a", text="HE"))
    assert CancelCall(step_id="a", token=token) in decision.commands
    assert play.state.step("a").status is StepStatus.SKIPPED
    assert play.calls()["b"].input == {"text": "HE!"}
    [entry] = [each for each in play.history if each.type == "step.skipped"]
    assert entry.attributes == {"by": "users/eve", "reason": "by hand"}
    facts = {"workflow": "chain", "step": "a", "by": "users/eve", "reason": "by hand"}
    assert ("step.skipped", facts) in play.announced
    play.tell(late)
    assert play.types()[-1] == "step.late_result a"
    play.tell(play.succeeded("b", text="end"))
    assert play.status() is ExecutionStatus.SUCCEEDED
    assert play.outputs["a"] == {"text": "HE"}


def test_without_an_output_it_is_null() -> None:
    play = Play(compiled(JOIN))
    play.tell(skip("a"))
    play.tell(skip("b"))
    assert set(play.calls()) == {"c"}
    play.tell(skip("c"))
    assert play.status() is ExecutionStatus.SUCCEEDED
    assert play.outputs == {}


@pytest.mark.parametrize("kind", ["waiting", "backing off"])
def test_a_step_that_waits_for_an_agent_or_for_its_next_attempt(kind: str) -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    event: Event = play.failed("a")
    if kind == "waiting":
        event = AgentMissing(step_id="a", token=play.state.step("a").token)
    play.tell(event)
    play.tell(skip("a", text="HE"))
    assert set(play.calls()) == {"b"}
    assert play.state.step("a").due_at is None
    play.later(timedelta(minutes=1))
    assert play.state.step("a").status is StepStatus.SKIPPED


def test_what_is_held_goes_on_once_it_is_resumed() -> None:
    for hold in (PauseRequested(), Suspended(failure=DEFECT)):
        play = Play(compiled(CHAIN), {"text": "hi"})
        play.tell(hold)
        play.tell(skip("a", text="HE"))
        assert play.calls() == {}
        play.tell(ResumeRequested())
        assert set(play.calls()) == {"b"}


def test_a_call_whose_outcome_nobody_knows_is_not_made_again() -> None:
    play = Play(compiled(JOIN.replace("{id: a, ", "{id: a, at_most_once: suspend, ")))
    play.tell(CallsLost())
    assert play.status() is ExecutionStatus.QUARANTINED
    play.tell(skip("a"))
    play.tell(ResumeRequested())
    assert play.status() is ExecutionStatus.RUNNING
    assert "a" not in play.calls()


def test_a_step_that_is_not_under_way_stays_as_it_is() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    for step in ("b", "nobody"):
        assert play.tell(skip(step)).history == ()
    play.tell(play.succeeded("a", text="HI"))
    assert play.tell(skip("a", text="HE")).history == ()
    assert play.outputs["a"] == {"text": "HI"}
