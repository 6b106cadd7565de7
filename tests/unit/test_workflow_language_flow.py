"""Switches, state, events, failures that are caught, waits and joins, as the decider runs them."""

from __future__ import annotations

from datetime import timedelta

from brikk_shared.errors import Reason
from brikk_workflow.domain.decider import calls_in_flight
from brikk_workflow.domain.decision import CallsLost, PauseRequested, ResumeRequested
from brikk_workflow.domain.definition import Catch, OnError, StepTimeout
from brikk_workflow.domain.kinds import Case, SetStep, SwitchStep, WaitStep
from brikk_workflow.domain.state import ExecutionStatus, StepStatus, next_wake
from support.play import BUSY, NOW, WRONG, Play
from support.programs import called, chain, emits, fails, program, puts, returns, step


def test_a_switch_runs_the_first_case_that_holds() -> None:
    switch = SwitchStep(
        cases=(
            Case(when="input.n > 10.0", steps=(step("big"),)),
            Case(
                when="input.n > 1.0",
                steps=chain(step("some"), called("more", {"of": "${steps.some.output.x}"})),
            ),
        ),
        default=(step("none"),),
    )
    play = Play(program(step("sw", switch), output="${steps.sw.output}"), {"n": 5.0})
    assert play.calls().keys() == {"sw/some"}
    play.tell(play.succeeded("sw/some", x=1.0))
    assert play.calls()["sw/more"].input == {"of": 1.0}
    play.tell(play.succeeded("sw/more", y=2.0))
    assert play.state.status is ExecutionStatus.SUCCEEDED
    assert play.last.output == {"y": 2.0}
    play = Play(play.workflow, {"n": 0.0})
    assert play.calls().keys() == {"sw/none"}


def test_a_switch_without_a_case_that_holds_puts_out_null() -> None:
    switch = SwitchStep(cases=(Case(when="false", steps=(step("a"),)),))
    play = Play(program(step("sw", switch), output="${steps.sw.output}"))
    assert (play.state.status, play.last.output) == (ExecutionStatus.SUCCEEDED, None)


def test_set_writes_the_state_and_counts_its_versions() -> None:
    steps = chain(
        puts("a", {"n": "${input.n}", "x": "y"}),
        puts("b", {"n": "${state.n + 1.0}"}),
        step("c", SetStep(values={"z": 1.0}, if_version="2.0")),
    )
    output = {"state": "${state}", "version": "${execution.state_version}"}
    play = Play(program(*steps, output=output), {"n": 1.0})
    assert play.last.output == {"state": {"n": 2.0, "x": "y", "z": 1.0}, "version": 3.0}
    assert play.state.state_version == 3


def test_a_state_that_somebody_else_wrote_is_not_overwritten() -> None:
    steps = chain(puts("a", {"n": 1.0}), step("b", SetStep(values={"n": 2.0}, if_version="0.0")))
    play = Play(program(*steps))
    assert play.state.step("b").failure.reason is Reason.STATE_CONFLICT  # type: ignore[union-attr]
    assert play.state.status is ExecutionStatus.FAILED


def test_an_event_of_the_workflows_own_is_announced() -> None:
    play = Play(program(emits("a", "order.placed")))
    assert ("custom.order.placed", {}) in play.announced
    assert "step.emitted a" in play.types()


def test_a_failure_of_the_authors_own_is_caught_by_its_reason() -> None:
    caught = Catch(errors=("REFUSED",), steps=(called("mend", {"why": "${steps.x.error.reason}"}),))
    steps = chain(
        fails("x", "REFUSED", catch=(Catch(errors=("OTHER",), steps=(step("no"),)), caught)),
        step("y"),
    )
    play = Play(program(*steps, output="${steps.x.output}"))
    assert play.calls()["x/catch/mend"].input == {"why": "REFUSED"}
    assert play.state.step("x").status is StepStatus.RUNNING
    play.tell(play.succeeded("x/catch/mend", ok=True))
    assert play.state.step("x").status is StepStatus.SUCCEEDED
    assert play.calls().keys() == {"y"}
    play.tell(play.succeeded("y"))
    assert play.last.output == {"ok": True}


def test_a_catch_that_fails_fails_its_step() -> None:
    play = Play(program(step("x", catch=(Catch(steps=(fails("again"),)),))))
    play.tell(play.failed("x", WRONG))
    assert play.state.status is ExecutionStatus.FAILED
    assert play.state.step("x").failure.own_reason == "ON_PURPOSE"  # type: ignore[union-attr]


def test_a_failure_that_is_continued_is_read_by_the_steps_after_it() -> None:
    steps = chain(
        step("x", on_error=OnError.CONTINUE),
        called("y", {"error": "${steps.x.error}", "output": "${steps.x.output}"}),
    )
    play = Play(program(*steps))
    play.tell(play.failed("x", WRONG))
    assert play.calls()["y"].input == {
        "error": {
            "code": "INVALID_ARGUMENT",
            "reason": "AGENT_FAILED",
            "message": "wrong",
            "attempts": 1.0,
        },
        "output": None,
    }
    play.tell(play.succeeded("y"))
    assert play.state.status is ExecutionStatus.SUCCEEDED
    assert play.state.step("x").status is StepStatus.FAILED


def test_return_ends_the_execution_and_what_still_runs() -> None:
    inner = SwitchStep(
        cases=(Case(when="true", steps=(returns("r", {"x": "${steps.a.output.x}"}),)),)
    )
    play = Play(program(step("a"), step("b"), step("s", inner, after=("a",))))
    play.tell(play.succeeded("a", x=1.0))
    assert play.state.status is ExecutionStatus.SUCCEEDED
    assert play.last.output == {"x": 1.0}
    assert play.cancels() == ["b"]


def test_a_wait_takes_its_time_and_stands_still_while_the_execution_is_paused() -> None:
    steps = chain(step("w", WaitStep(duration=timedelta(minutes=1))), step("a"))
    play = Play(program(*steps))
    assert play.state.step("w").status is StepStatus.WAITING
    assert next_wake(play.state) == NOW + timedelta(minutes=1)
    play.tell(CallsLost())
    play.tell(PauseRequested())
    play.later(timedelta(minutes=2))
    play.tell(ResumeRequested())
    assert play.calls() == {}
    play.later(timedelta(minutes=1))
    assert play.calls().keys() == {"a"}


def test_a_wait_until_a_time_does_not_move() -> None:
    until = WaitStep(until="${input.at}")
    play = Play(program(step("w", until)), {"at": "2026-01-01T00:01:00Z"})
    play.tell(PauseRequested())
    play.later(timedelta(minutes=2))
    play.tell(ResumeRequested())
    play.later(timedelta(0))
    assert play.state.status is ExecutionStatus.SUCCEEDED
    play = Play(play.workflow, {"at": "2025-01-01T00:00:00Z"})
    assert play.state.status is ExecutionStatus.SUCCEEDED, "it has passed"
    play = Play(play.workflow, {"at": "soon"})
    assert play.state.step("w").failure.reason is Reason.EXPRESSION_FAILED  # type: ignore[union-attr]


def test_any_of_several_is_enough_and_the_losers_are_cancelled() -> None:
    steps = (
        step("a"),
        step("b"),
        step("c"),
        step("d", after=("c",)),
        step("j", after=("a", "b", "c"), join=1),
    )
    play = Play(program(*steps))
    play.tell(play.succeeded("a"))
    assert play.calls().keys() == {"j"}
    assert play.cancels() == ["b"], "d waits for c"
    assert play.state.step("b").status is StepStatus.CANCELLED
    play.tell(play.succeeded("j"))
    play.tell(play.succeeded("c"))
    assert play.calls().keys() == {"d"}
    play.tell(play.succeeded("d"))
    assert play.state.status is ExecutionStatus.SUCCEEDED


def test_a_join_that_cannot_be_reached_any_more_is_skipped() -> None:
    steps = (
        step("a", when="false"),
        step("b", on_error=OnError.CONTINUE),
        step("c"),
        step("j", after=("a", "b", "c"), join=2),
    )
    play = Play(program(*steps))
    play.tell(play.failed("b", WRONG))
    assert play.state.step("j").status is StepStatus.SKIPPED
    assert play.state.step("c").status is StepStatus.RUNNING
    play.tell(play.succeeded("c"))
    assert play.state.status is ExecutionStatus.SUCCEEDED


def test_schedule_to_close_ends_a_container_with_all_that_runs_inside() -> None:
    switch = SwitchStep(cases=(Case(when="true", steps=(step("a"),)),))
    limit = StepTimeout(schedule_to_close=timedelta(seconds=5))
    play = Play(
        program(
            step("sw", switch, timeout=limit, on_error=OnError.CONTINUE), step("b", after=("sw",))
        )
    )
    play.later(timedelta(seconds=5))
    assert play.cancels() == ["sw/a"]
    assert play.state.step("sw").failure.reason is Reason.STEP_TIMEOUT  # type: ignore[union-attr]
    assert play.calls().keys() == {"b"}


def test_what_ends_while_the_execution_is_paused_goes_on_when_it_is_resumed() -> None:
    switch = SwitchStep(cases=(Case(when="true", steps=chain(step("a"), step("b"))),))
    play = Play(program(step("sw", switch, catch=(Catch(steps=(step("c"),)),))))
    play.tell(PauseRequested())
    play.tell(play.succeeded("sw/a"))
    assert play.calls() == {}
    play.tell(ResumeRequested())
    assert play.calls().keys() == {"sw/b"}
    play.tell(PauseRequested())
    play.tell(play.failed("sw/b", WRONG))
    assert play.calls() == {}
    play.tell(ResumeRequested())
    assert play.calls().keys() == {"sw/catch/c"}


def test_calls_inside_others_are_made_again_when_they_were_lost() -> None:
    switch = SwitchStep(cases=(Case(when="true", steps=(called("a", {"x": "${input.x}"}),)),))
    play = Play(program(step("sw", switch)), {"x": "y"})
    order = play.calls()["sw/a"]
    assert calls_in_flight(play.workflow, play.state, play.values) == (order,)
    play.tell(CallsLost())
    assert play.calls()["sw/a"].token != order.token
    play.tell(play.failed("sw/a", BUSY))
    play.later(timedelta(seconds=1))
    assert play.calls()["sw/a"].attempt == 2
