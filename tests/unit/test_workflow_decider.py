"""What the decider makes of each event, on small workflows."""

from __future__ import annotations

from datetime import timedelta

from brikk_shared.errors import Reason
from brikk_workflow.domain.decider import calls_in_flight
from brikk_workflow.domain.decision import (
    AgentAvailable,
    CallsLost,
    CancelRequested,
    Decision,
    TimerFired,
)
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.state import ExecutionStatus, StepStatus, next_wake
from support.play import BUSY, CHAIN, JOIN, NOW, WRONG, Play, compiled


def test_a_chain_runs_to_its_output() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    assert play.calls()["a"].input == {"text": "hi"}
    assert play.calls()["a"].timeout == timedelta(seconds=30)
    play.tell(play.succeeded("a", text="HI"))
    assert play.calls()["b"].input == {"text": "HI!"}
    play.tell(play.succeeded("b", text="HI!!"))
    assert play.state.status is ExecutionStatus.SUCCEEDED
    assert play.last.output == {"text": "HI!!"}
    assert play.last.commands == ()
    assert play.types() == [
        "execution.started",
        "step.attempt_started a",
        "step.succeeded a",
        "step.attempt_started b",
        "step.succeeded b",
        "execution.succeeded",
    ]
    assert [entry.sequence for entry in play.history] == [1, 2, 3, 4, 5, 6]
    assert play.state.sequence == 6
    assert next_wake(play.state) is None


def test_announcements_carry_what_other_services_count() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.now += timedelta(seconds=2)
    play.tell(play.succeeded("a", text="HI"))
    play.tell(play.succeeded("b", text="HI"))
    assert play.announced == [
        ("execution.started", {"workflow": "chain", "version": 0}),
        (
            "step.succeeded",
            {
                "workflow": "chain",
                "step": "a",
                "capability": "t.a",
                "agent": "agents/a",
                "attempts": 1,
                "duration_ms": 2000.0,
                "latency_ms": 7.0,
            },
        ),
        (
            "step.succeeded",
            {
                "workflow": "chain",
                "step": "b",
                "capability": "t.b",
                "agent": "agents/b",
                "attempts": 1,
                "duration_ms": 0.0,
                "latency_ms": 7.0,
            },
        ),
        ("execution.succeeded", {"workflow": "chain", "version": 0, "duration_ms": 2000.0}),
    ]


def test_a_retry_waits_and_takes_a_new_token() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    first = play.state.step("a").token
    play.tell(play.failed("a"))
    step = play.state.step("a")
    assert (step.status, step.attempt, step.token) == (StepStatus.BACKING_OFF, 1, "")
    assert step.failure == BUSY
    assert next_wake(play.state) == NOW + timedelta(milliseconds=200)
    assert play.announced[-1] == (
        "step.retrying",
        {
            "workflow": "chain",
            "step": "a",
            "capability": "t.a",
            "agent": "agents/a",
            "attempt": 1,
            "latency_ms": 7.0,
            "reason": "AGENT_FAILED",
            "message": "busy",
            "delay_ms": 200.0,
        },
    )
    assert play.later(timedelta(milliseconds=199)).history == ()
    play.later(timedelta(milliseconds=1))
    step = play.state.step("a")
    assert (step.status, step.attempt) == (StepStatus.RUNNING, 2)
    assert step.token != first
    assert play.calls()["a"].attempt == 2
    play.tell(play.succeeded("a", text="HI"))
    assert play.state.step("a").failure is None
    assert play.announced[-1][1]["attempts"] == 2


def test_the_last_attempt_fails_the_step_and_the_execution() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    for _ in range(3):
        play.tell(play.failed("a"))
        play.later(timedelta(minutes=1))
    assert play.state.step("a").status is StepStatus.FAILED
    assert play.state.step("b").status is StepStatus.CANCELLED
    assert play.state.status is ExecutionStatus.FAILED
    failure = play.state.failure
    assert failure is not None
    assert (failure.reason, failure.metadata) == (Reason.STEP_FAILED, {"step": "a"})
    assert failure.message == "Step a failed: busy"
    assert [kind for kind, _ in play.announced[-2:]] == ["step.failed", "execution.failed"]
    assert play.announced[-2][1]["attempts"] == 3
    assert play.announced[-1][1]["step"] == "a"


def test_a_failure_that_no_retry_helps_ends_at_once() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(play.failed("a", WRONG))
    assert play.state.status is ExecutionStatus.FAILED
    assert play.types()[-3:] == ["step.attempt_failed a", "step.failed a", "execution.failed"]


def test_a_result_with_an_old_token_is_only_recorded() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    late = play.succeeded("a", text="late")
    play.tell(play.failed("a"))
    play.later(timedelta(seconds=1))
    before = play.state
    play.tell(late)
    assert play.types()[-1] == "step.late_result a"
    assert play.state.steps == before.steps
    assert play.outputs == {}
    assert play.last.commands == ()


def test_a_result_delivered_twice_is_accepted_once() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    result = play.succeeded("a", text="HI")
    play.tell(result, result)
    assert play.types().count("step.succeeded a") == 1
    assert play.types()[-1] == "step.late_result a"
    assert len(play.calls()) == 1


def test_an_ended_execution_absorbs_everything() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    late = play.succeeded("a", text="HI")
    play.tell(CancelRequested(reason="enough"))
    ended = play.state
    for event in (
        late,
        TimerFired(),
        CallsLost(),
        CancelRequested(),
        AgentAvailable(capability="t.a"),
    ):
        decision = play.tell(event)
        assert decision == Decision(state=ended)


def test_steps_that_wait_for_nothing_begin_together_and_are_joined() -> None:
    play = Play(compiled(JOIN))
    assert play.calls().keys() == {"a", "b"}
    play.tell(play.succeeded("b"))
    assert play.calls() == {}
    play.tell(play.succeeded("a"))
    assert play.calls().keys() == {"c"}


def test_several_events_are_folded_into_one_decision() -> None:
    play = Play(compiled(JOIN))
    play.tell(play.succeeded("a"), play.succeeded("b"))
    assert play.calls().keys() == {"c"}
    assert play.outputs.keys() == {"a", "b"}


def test_a_failed_step_cancels_its_running_siblings() -> None:
    play = Play(compiled(JOIN))
    play.tell(play.failed("a", WRONG))
    assert play.cancels() == ["b"]
    assert play.state.step("b").status is StepStatus.CANCELLED
    assert play.state.step("c").status is StepStatus.CANCELLED
    assert "step.cancelled b" in play.types()
    assert "step.cancelled c" not in play.types()
    assert ("step.cancelled", {"workflow": "join", "step": "b"}) in play.announced


def test_a_call_ordered_and_withdrawn_in_one_decision_is_never_made() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(play.succeeded("a", text="HI"), CancelRequested())
    assert play.last.commands == ()


def test_cancelling_keeps_the_reason() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.now += timedelta(seconds=1)
    play.tell(CancelRequested(reason="not needed"))
    assert play.state.status is ExecutionStatus.CANCELLED
    assert play.cancels() == ["a"]
    assert play.announced[-1] == (
        "execution.cancelled",
        {"workflow": "chain", "version": 0, "duration_ms": 1000.0, "reason": "not needed"},
    )
    assert play.state.failure is not None
    assert play.state.failure.reason is Reason.CANCELLED


SKIPPING = """
name: skipping
steps:
  - {id: a, when: input.wanted, call: {capability: t.a}}
  - {id: b, when: "steps.a.output != null", call: {capability: t.b}}
  - {id: c, call: {capability: t.c, input: {a: "${steps.a.output}"}}}
output: "${steps.b.output}"
"""


def test_a_skipped_step_counts_as_done_and_its_output_is_null() -> None:
    play = Play(compiled(SKIPPING), {"wanted": False})
    assert play.types()[1:] == ["step.skipped a", "step.skipped b", "step.attempt_started c"]
    assert play.calls()["c"].input == {"a": None}
    assert ("step.skipped", {"workflow": "skipping", "step": "a"}) in play.announced
    play.tell(play.succeeded("c"))
    assert play.state.status is ExecutionStatus.SUCCEEDED
    assert play.last.output is None


def test_everything_may_be_skipped() -> None:
    play = Play(
        compiled(
            "name: none\nsteps: [{id: a, when: 'false', call: {capability: t.a}}]\noutput: done"
        )
    )
    assert play.state.status is ExecutionStatus.SUCCEEDED
    assert play.last.output == "done"


def test_a_condition_that_is_no_boolean_fails_the_step() -> None:
    play = Play(compiled(SKIPPING), {"wanted": "yes"})
    step = play.state.step("a")
    assert (step.status, step.attempt, step.started_at) == (StepStatus.FAILED, 0, None)
    assert step.failure is not None
    assert step.failure.reason is Reason.EXPRESSION_FAILED
    assert step.failure.message == "`input.wanted` failed: the condition is a string, not a boolean"
    assert play.state.status is ExecutionStatus.FAILED


def test_an_input_that_cannot_be_rendered_fails_the_step() -> None:
    play = Play(compiled(CHAIN), {})
    step = play.state.step("a")
    assert (step.status, step.attempt) == (StepStatus.FAILED, 0)
    assert step.failure is not None
    assert step.failure.metadata == {"expression": "input.text"}
    assert {**play.announced[-2][1], "reason": 0, "message": 0} == {
        "workflow": "chain",
        "step": "a",
        "capability": "t.a",
        "agent": "",
        "attempts": 0,
        "duration_ms": 0.0,
        "latency_ms": 0.0,
        "reason": 0,
        "message": 0,
    }


def test_an_input_that_is_too_large_fails_the_step() -> None:
    play = Play(compiled(CHAIN), {"text": "x" * (1 << 20)})
    failure = play.state.step("a").failure
    assert failure is not None
    assert failure.reason is Reason.PAYLOAD_TOO_LARGE


def test_an_output_that_cannot_be_rendered_fails_the_execution() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(play.succeeded("a", text="HI"))
    play.tell(play.succeeded("b"))
    assert play.state.step("b").status is StepStatus.SUCCEEDED
    assert play.state.status is ExecutionStatus.FAILED
    assert play.state.failure is not None
    assert play.state.failure.reason is Reason.EXPRESSION_FAILED
    assert play.last.output is None


def test_without_an_agent_the_step_waits_and_goes_on_when_one_comes() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    missing = play.missing("a")
    play.tell(missing)
    step = play.state.step("a")
    assert (step.status, step.token) == (StepStatus.WAITING, "")
    assert next_wake(play.state) == NOW + timedelta(minutes=1)
    play.now += timedelta(seconds=30)
    assert play.tell(AgentAvailable(capability="t.other")).history == ()
    play.tell(AgentAvailable(capability="t.a"))
    step = play.state.step("a")
    assert (step.status, step.attempt) == (StepStatus.RUNNING, 1)
    play.tell(missing)
    assert play.types()[-1] == "step.late_result a"
    play.tell(play.missing("a"))
    assert next_wake(play.state) == NOW + timedelta(minutes=1), "the wait goes on where it was"


def test_waiting_for_an_agent_ends_with_schedule_to_start() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(play.missing("a"))
    play.later(timedelta(minutes=1))
    failure = play.state.step("a").failure
    assert failure is not None
    assert (failure.reason, failure.metadata) == (Reason.NO_AGENT, {"capability": "t.a"})
    assert failure.message == "No live agent offered t.a within 1m"
    assert play.announced[-2][1]["agent"] == ""
    assert play.state.status is ExecutionStatus.FAILED


def test_lost_calls_are_made_again_without_eating_an_attempt() -> None:
    play = Play(compiled(JOIN))
    old = play.succeeded("a")
    play.tell(CallsLost())
    assert play.calls().keys() == {"a", "b"}
    assert play.state.step("a").attempt == 1
    assert play.calls()["a"].token == play.state.step("a").token != old.token
    assert play.types()[-4:] == [
        "step.attempt_lost a",
        "step.attempt_started a",
        "step.attempt_lost b",
        "step.attempt_started b",
    ]
    play.tell(old)
    assert play.types()[-1] == "step.late_result a"


def test_recorded_calls_can_be_given_out_again() -> None:
    play = Play(compiled(JOIN))
    ordered = play.calls()
    again = calls_in_flight(play.workflow, play.state, play.values)
    assert {each.step_id: each for each in again} == ordered


CLOSING = """
name: closing
timeout: 10m
steps:
  - id: a
    call: {capability: t.a}
    timeout: {schedule_to_close: 10s}
    retry: {max_attempts: 100, initial: 4s, multiplier: 1, jitter: 0}
"""


def test_schedule_to_close_ends_a_call_in_flight() -> None:
    play = Play(compiled(CLOSING))
    assert next_wake(play.state) == NOW + timedelta(seconds=10)
    play.later(timedelta(seconds=10))
    assert play.cancels() == ["a"]
    failure = play.state.step("a").failure
    assert failure is not None
    assert failure.reason is Reason.STEP_TIMEOUT
    assert failure.metadata == {"timeout": "schedule_to_close"}
    assert failure.message == "The step did not end within its schedule_to_close of 10s"


def test_a_retry_that_would_come_after_schedule_to_close_is_not_waited_for() -> None:
    play = Play(compiled(CLOSING))
    play.now += timedelta(seconds=5)
    play.tell(play.failed("a"))
    assert play.state.step("a").status is StepStatus.BACKING_OFF
    play.later(timedelta(seconds=4))
    play.tell(play.failed("a"))
    assert play.state.step("a").status is StepStatus.FAILED
    assert play.state.step("a").failure == BUSY


def test_the_timeout_of_the_workflow_ends_everything() -> None:
    play = Play(compiled(CHAIN.replace("name: chain", "name: chain\ntimeout: 90s")), {"text": "hi"})
    play.tell(play.failed("a"))
    assert next_wake(play.state) == NOW + timedelta(milliseconds=200)
    play.later(timedelta(seconds=90))
    assert play.state.status is ExecutionStatus.FAILED
    assert play.state.failure is not None
    assert play.state.failure.reason is Reason.EXECUTION_TIMEOUT
    assert play.state.failure.message == "The execution did not end within 1m30s"
    assert play.calls() == {}
    assert play.state.step("a").status is StepStatus.CANCELLED
    assert "step" not in play.announced[-1][1]


def test_the_texts_of_agents_are_scrubbed() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    poison = Failure(
        code="INTERNAL",
        reason=Reason.AGENT_FAILED,
        message="a\x00b\ud800c",
        metadata={"agent_reason": "\x00"},
        retryable=False,
    )
    play.tell(play.failed("a", poison))
    assert play.history[-3].attributes["message"] == "a\\x00b\\ud800c"
    assert poison.metadata == {"agent_reason": "\\x00"}


def test_a_long_chain_of_skips_does_not_nest() -> None:
    steps = "\n".join(
        f"  - {{id: s{number}, when: 'false', call: {{capability: t.s}}}}" for number in range(500)
    )
    play = Play(compiled(f"name: long\nsteps:\n{steps}\n"))
    assert play.state.status is ExecutionStatus.SUCCEEDED
    assert play.state.sequence == 502
