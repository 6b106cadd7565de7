"""Executions that wait for a place, are paused or suspended, are resumed or terminated."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brikk_shared.errors import Reason
from brikk_workflow.domain.decision import (
    Admitted,
    AgentAvailable,
    CallsLost,
    CancelRequested,
    Decision,
    Event,
    PauseRequested,
    ResumeRequested,
    Suspended,
    TerminateRequested,
)
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.state import ExecutionStatus, StepStatus, next_wake
from support.play import CHAIN, JOIN, NOW, WRONG, Play, compiled

HOUR = timedelta(hours=1)
DEFECT = Failure(code="INTERNAL", reason=Reason.INTERNAL, message="a defect")


def test_a_paused_execution_keeps_answers_and_calls_nobody() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(PauseRequested(reason="lunch"))
    assert play.status() is ExecutionStatus.PAUSED
    assert play.announced[-1] == (
        "execution.paused",
        {"workflow": "chain", "version": 0, "reason": "lunch"},
    )
    play.tell(play.succeeded("a", text="HI"))
    assert play.last.commands == ()
    assert play.state.step("a").status is StepStatus.SUCCEEDED
    assert play.state.step("b").status is StepStatus.PENDING
    play.now += HOUR
    play.tell(ResumeRequested())
    assert play.status() is ExecutionStatus.RUNNING
    assert play.announced[-1] == (
        "execution.resumed",
        {"workflow": "chain", "version": 0, "held_ms": 3_600_000.0},
    )
    assert play.calls()["b"].input == {"text": "HI!"}
    assert play.types()[-2:] == ["execution.resumed", "step.attempt_started b"]


def test_pausing_and_resuming_again_changes_nothing() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    assert play.tell(ResumeRequested()) == Decision(state=play.state)
    play.tell(PauseRequested())
    assert play.tell(PauseRequested()) == Decision(state=play.state)
    assert play.tell(PauseRequested(), ResumeRequested()).state.status is ExecutionStatus.RUNNING
    assert play.tell(ResumeRequested(), Admitted()) == Decision(state=play.state)


def test_the_clocks_of_steps_stand_still_in_a_pause() -> None:
    play = Play(compiled(f"timeout: 10h\n{CHAIN.lstrip()}"), {"text": "hi"})
    play.tell(PauseRequested())
    play.now += HOUR / 2
    play.tell(play.failed("a"))
    assert play.state.step("a").status is StepStatus.BACKING_OFF
    assert next_wake(play.state) == NOW + 10 * HOUR, "only the execution's own timeout goes on"
    assert play.later(HOUR / 2).history == ()
    play.tell(ResumeRequested())
    assert next_wake(play.state) == NOW + HOUR + timedelta(milliseconds=200)
    play.later(timedelta(milliseconds=200))
    assert play.calls()["a"].attempt == 2


def test_a_wait_for_an_agent_has_as_much_time_left_as_before_the_pause() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(play.missing("a"))
    play.now += timedelta(seconds=40)
    play.tell(PauseRequested())
    play.now += HOUR
    assert play.tell(AgentAvailable(capability="t.a")).history == ()
    play.tell(ResumeRequested())
    assert next_wake(play.state) == play.now + timedelta(seconds=20)
    play.tell(AgentAvailable(capability="t.a"))
    assert play.calls().keys() == {"a"}


def test_schedule_to_close_is_extended_by_the_pause() -> None:
    text = JOIN.replace("{id: a, ", "{id: a, timeout: {schedule_to_close: 30s}, ")
    play = Play(compiled(text))
    play.tell(PauseRequested())
    play.later(HOUR)
    assert play.state.step("a").status is StepStatus.RUNNING
    play.tell(ResumeRequested())
    assert next_wake(play.state) == NOW + HOUR + timedelta(seconds=30)


def test_calls_lost_in_a_pause_are_made_again_after_it() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(PauseRequested())
    play.now += HOUR
    play.tell(CallsLost())
    assert play.last.commands == ()
    assert play.types()[-2:] == ["step.attempt_lost a", "step.waiting a"]
    play.now += HOUR
    play.tell(ResumeRequested())
    play.tell(AgentAvailable(capability="t.a"))
    assert play.calls()["a"].attempt == 1


def test_a_paused_execution_ends_with_the_answers_to_its_last_calls() -> None:
    play = Play(compiled(JOIN))
    play.tell(play.succeeded("a"), play.succeeded("b"))
    play.tell(PauseRequested())
    play.tell(play.succeeded("c"))
    assert play.status() is ExecutionStatus.SUCCEEDED
    assert play.state.held_at is None
    play = Play(compiled(JOIN))
    play.tell(PauseRequested())
    play.tell(play.failed("a", WRONG))
    assert play.status() is ExecutionStatus.FAILED


def test_the_timeout_of_the_workflow_goes_on_in_a_pause() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(PauseRequested())
    play.later(timedelta(days=1))
    assert play.state.failure is not None
    assert play.state.failure.reason is Reason.EXECUTION_TIMEOUT


def test_a_suspended_execution_stands_still_until_it_is_resumed() -> None:
    play = Play(compiled(JOIN))
    play.tell(Suspended(failure=DEFECT))
    assert play.status() is ExecutionStatus.QUARANTINED
    assert play.state.failure == DEFECT
    assert play.announced[-1] == (
        "execution.quarantined",
        {"workflow": "join", "version": 0, "reason": "INTERNAL", "message": "a defect"},
    )
    assert next_wake(play.state) is None
    assert play.later(timedelta(days=3)).history == ()
    assert play.tell(PauseRequested(), Suspended(failure=WRONG)) == Decision(state=play.state)
    play.tell(CallsLost(), ResumeRequested())
    assert play.state.failure is None
    assert play.state.deadline == NOW + timedelta(days=4), "its timeout stood still as well"
    assert play.state.step("a").status is StepStatus.WAITING
    play.tell(AgentAvailable(capability="t.a"), AgentAvailable(capability="t.b"))
    assert play.calls().keys() == {"a", "b"}


def test_suspending_touches_no_step() -> None:
    play = Play(compiled(JOIN))
    before = play.state
    play.tell(Suspended(failure=DEFECT))
    assert play.state.steps == before.steps
    assert play.last.commands == ()


def test_what_is_paused_can_be_suspended_too() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(PauseRequested())
    play.now += HOUR
    play.tell(Suspended(failure=DEFECT))
    assert play.status() is ExecutionStatus.QUARANTINED
    play.now += HOUR
    play.tell(ResumeRequested())
    assert play.status() is ExecutionStatus.RUNNING


@pytest.mark.parametrize(
    "first", [Admitted(), PauseRequested(), Suspended(failure=DEFECT), ResumeRequested()]
)
def test_terminating_ends_an_execution_wherever_it_stands(first: Event) -> None:
    play = Play(compiled(JOIN))
    play.tell(first)
    play.tell(TerminateRequested(reason="enough"))
    assert play.status() is ExecutionStatus.TERMINATED
    assert play.state.status.terminal
    assert play.cancels() == ["a", "b"]
    assert play.announced[-1] == (
        "execution.terminated",
        {"workflow": "join", "version": 0, "duration_ms": 0.0, "reason": "enough"},
    )
    assert play.state.failure is not None
    assert play.state.failure.reason is Reason.CANCELLED
    assert play.tell(CancelRequested(), ResumeRequested()) == Decision(state=play.state)


def test_a_queued_execution_begins_once_it_is_admitted() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"}, queued=True)
    assert play.status() is ExecutionStatus.QUEUED
    assert play.last.commands == ()
    assert play.types() == ["execution.started", "execution.queued"]
    assert next_wake(play.state) == NOW + timedelta(days=1)
    play.now += HOUR
    play.tell(Admitted())
    assert play.status() is ExecutionStatus.RUNNING
    assert play.calls().keys() == {"a"}
    assert play.types()[2:] == ["execution.admitted", "step.attempt_started a"]
    assert play.state.deadline == NOW + timedelta(days=1)


def test_a_queue_is_left_by_the_timeout_or_on_request() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"}, queued=True)
    play.later(timedelta(days=1))
    assert play.status() is ExecutionStatus.FAILED
    play = Play(compiled(CHAIN), {"text": "hi"}, queued=True)
    play.tell(CancelRequested())
    assert play.status() is ExecutionStatus.CANCELLED


def test_what_was_paused_in_the_queue_goes_back_there() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"}, queued=True)
    play.tell(PauseRequested())
    assert play.status() is ExecutionStatus.PAUSED
    assert not play.state.admitted
    play.tell(ResumeRequested())
    assert play.status() is ExecutionStatus.QUEUED
    assert play.calls() == {}


def test_a_place_given_in_a_pause_is_taken_after_it() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"}, queued=True)
    play.tell(PauseRequested())
    play.tell(Admitted())
    assert play.status() is ExecutionStatus.PAUSED
    assert play.calls() == {}
    play.tell(ResumeRequested())
    assert play.calls().keys() == {"a"}
