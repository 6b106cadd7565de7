"""Calls that may be made at most once, when nobody knows what became of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brikk_shared.errors import Reason
from brikk_workflow.domain.decision import CallsLost, PauseRequested, ResumeRequested
from brikk_workflow.domain.failure import Failure, step_timeout
from brikk_workflow.domain.state import ExecutionStatus, StepStatus, next_wake
from support.play import BUSY, JOIN, Play, compiled

GONE = Failure(code="UNAVAILABLE", reason=Reason.AGENT_UNAVAILABLE, message="gone", retryable=True)
LATE = step_timeout("start_to_close", timedelta(seconds=30))


def once(word: str) -> Play:
    return Play(compiled(JOIN.replace("{id: a, ", f"{{id: a, at_most_once: {word}, ")))


def test_a_lost_call_fails_its_step() -> None:
    play = once("fail")
    play.tell(CallsLost())
    assert play.status() is ExecutionStatus.FAILED
    failure = play.state.step("a").failure
    assert failure is not None
    assert (failure.reason, failure.code) == (Reason.OUTCOME_UNKNOWN, "UNKNOWN")
    assert failure.metadata == {"step": "a", "agent": ""}
    assert play.calls() == {}


def test_a_lost_call_suspends_the_execution_and_resuming_makes_it_again() -> None:
    play = once("suspend")
    play.tell(CallsLost())
    assert play.status() is ExecutionStatus.QUARANTINED
    assert play.state.step("a").status is StepStatus.UNKNOWN
    assert play.state.step("b").status is StepStatus.WAITING, "others wait until it goes on"
    assert play.announced[-1][0] == "execution.quarantined"
    assert play.announced[-1][1]["step"] == "a"
    assert next_wake(play.state) is None
    play.tell(ResumeRequested())
    assert play.calls()["a"].attempt == 1
    assert play.state.step("a").failure is not None, "kept until it succeeds"
    play.tell(play.succeeded("a"))
    assert play.state.step("a").failure is None


def test_others_in_flight_are_heard_while_the_execution_is_suspended() -> None:
    play = once("suspend")
    play.tell(play.failed("a", GONE))
    assert play.status() is ExecutionStatus.QUARANTINED
    play.tell(play.succeeded("b"))
    assert play.state.step("b").status is StepStatus.SUCCEEDED
    assert play.last.commands == ()


@pytest.mark.parametrize("failure", [GONE, LATE])
def test_what_got_no_answer_is_not_called_again(failure: Failure) -> None:
    play = once("fail")
    play.tell(play.failed("a", failure))
    assert play.types()[3:5] == ["step.attempt_failed a", "step.failed a"]
    stepped = play.state.step("a").failure
    assert stepped is not None
    assert stepped.reason is Reason.OUTCOME_UNKNOWN
    assert stepped.metadata["agent"] == "agents/a"
    assert failure.message in stepped.message


def test_what_the_agent_itself_refused_is_retried() -> None:
    play = once("fail")
    play.tell(play.failed("a", BUSY))
    assert play.state.step("a").status is StepStatus.BACKING_OFF


@pytest.mark.parametrize("failure", [GONE, LATE])
def test_without_at_most_once_it_is_called_again(failure: Failure) -> None:
    play = Play(compiled(JOIN))
    play.tell(play.failed("a", failure))
    assert play.state.step("a").status is StepStatus.BACKING_OFF


def test_a_call_that_nobody_took_was_not_made() -> None:
    play = once("fail")
    play.tell(play.missing("a"))
    play.tell(CallsLost())
    assert play.state.step("a").status is StepStatus.WAITING


def test_a_call_that_is_ordered_in_the_same_breath_is_not_lost() -> None:
    play = once("suspend")
    play.tell(CallsLost())
    # Who resumes it does so while nobody holds it; the replica that takes it then lost its calls.
    play.tell(ResumeRequested(), CallsLost())
    assert play.status() is ExecutionStatus.RUNNING
    assert play.calls().keys() == {"a"}
    play.tell(CallsLost())
    assert play.status() is ExecutionStatus.QUARANTINED


def test_a_call_lost_in_a_pause_suspends() -> None:
    play = once("suspend")
    play.tell(PauseRequested())
    play.tell(CallsLost())
    assert play.status() is ExecutionStatus.QUARANTINED


@pytest.mark.parametrize("word", ["fail", "suspend"])
def test_schedule_to_close_leaves_a_call_in_flight_unknown(word: str) -> None:
    timed = "{id: a, timeout: {schedule_to_close: 10s}, "
    play = Play(compiled(JOIN.replace("{id: a, ", f"{timed}at_most_once: {word}, ")))
    play.later(timedelta(seconds=10))
    failure = play.state.step("a").failure
    assert failure is not None
    assert failure.reason is Reason.OUTCOME_UNKNOWN
    assert "a" in play.cancels()
    if word == "suspend":
        play.now += timedelta(days=2)
        play.tell(ResumeRequested())
        assert play.calls()["a"].attempt == 1
        assert next_wake(play.state) == play.now + timedelta(seconds=10), "as long as at first"


def test_a_call_tells_which_silence_is_too_long() -> None:
    text = JOIN.replace("{id: a, ", "{id: a, timeout: {heartbeat: 1s}, ")
    calls = Play(compiled(text)).calls()
    assert calls["a"].heartbeat == timedelta(seconds=1)
    assert calls["b"].heartbeat is None
