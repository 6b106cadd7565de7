"""Signals and compensations, as the decider runs them."""

from __future__ import annotations

import json
from datetime import timedelta

from brikk_shared.errors import Reason
from brikk_workflow.domain.decider import adopt, calls_in_flight
from brikk_workflow.domain.decision import (
    CallsLost,
    CancelRequested,
    PauseRequested,
    ResumeRequested,
    SignalReceived,
    TerminateRequested,
)
from brikk_workflow.domain.definition import Compensation, Step
from brikk_workflow.domain.kinds import CallStep, MapStep, OnTimeout, SignalStep
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionStatus, StepStatus, next_wake
from brikk_workflow.domain.state_json import state_from_json, state_to_json
from support.play import BUSY, WRONG, Play
from support.programs import called, chain, program, step

MINUTE = timedelta(minutes=1)


def sent(name: str, data: Json = None) -> SignalReceived:
    return SignalReceived(name=name, data=data)


def undone(step_id: str) -> Step:
    """A step whose compensation calls `undo.<id>` with what it put out."""
    call = CallStep(capability=f"undo.{step_id}", input={"of": f"${{steps.{step_id}.output}}"})
    return step(step_id, compensate=Compensation(call=call))


def test_a_signal_is_the_output_of_the_step_that_waits_for_it() -> None:
    steps = chain(step("s", SignalStep(name="go")), called("a", {"by": "${steps.s.output.by}"}))
    play = Play(program(*steps))
    assert play.state.step("s").status is StepStatus.WAITING
    assert next_wake(play.state) == play.state.deadline
    play.tell(sent("other"))
    assert play.state.step("s").status is StepStatus.WAITING
    play.tell(sent("go", {"by": "me"}))
    assert play.calls()["a"].input == {"by": "me"}
    assert "execution.signalled s" in play.types()


def test_a_signal_that_comes_early_is_kept_and_each_is_taken_once() -> None:
    signals = [step(f"s{n}", SignalStep(name="go")) for n in range(3)]
    play = Play(program(*chain(step("a"), *signals), output="${steps.s1.output}"))
    play.tell(sent("go", 1.0), sent("go", 2.0))
    play.state = state_from_json(json.loads(json.dumps(state_to_json(play.state))))
    play.tell(play.succeeded("a"))
    assert play.outputs["s0"] == 1.0
    assert play.outputs["s1"] == 2.0
    assert play.state.step("s2").status is StepStatus.WAITING
    play.tell(sent("go"))
    assert (play.state.status, play.last.output) == (ExecutionStatus.SUCCEEDED, 2.0)


def test_a_signal_that_comes_while_the_execution_is_paused_is_taken() -> None:
    play = Play(program(*chain(step("s", SignalStep(name="go")), step("a"))))
    play.tell(PauseRequested())
    play.tell(sent("go"))
    assert play.calls() == {}
    play.tell(ResumeRequested())
    assert play.calls().keys() == {"a"}


def test_a_signal_that_does_not_come_in_time() -> None:
    play = Play(program(step("s", SignalStep(name="go", timeout=MINUTE))))
    play.later(MINUTE)
    assert play.state.step("s").failure.reason is Reason.SIGNAL_TIMEOUT  # type: ignore[union-attr]
    waits = SignalStep(name="go", timeout=MINUTE, on_timeout=OnTimeout.CONTINUE)
    play = Play(program(step("s", waits)))
    play.later(MINUTE)
    assert play.state.status is ExecutionStatus.SUCCEEDED


def test_no_more_signals_are_kept_than_may_be() -> None:
    play = Play(program(*chain(step("a"), step("s", SignalStep(name="go")))))
    play.tell(*(sent("go", float(number)) for number in range(101)))
    assert play.types()[-1] == "execution.signal_refused"
    play = Play(play.workflow)
    play.tell(*(sent("go", "x" * 300_000) for _ in range(4)))
    assert play.types()[-2:] == ["execution.signalled", "execution.signal_refused"]


def test_a_failure_undoes_what_was_done_the_last_first() -> None:
    play = Play(program(*chain(undone("a"), undone("b"), step("c"), undone("d"))))
    play.tell(play.succeeded("a", x=1.0))
    play.tell(play.succeeded("b", x=2.0))
    play.tell(play.failed("c", WRONG))
    assert play.state.status is ExecutionStatus.RUNNING
    order = play.calls()["b/compensate"]
    assert (order.capability, order.input) == ("undo.b", {"of": {"x": 2.0}})
    play.state = state_from_json(json.loads(json.dumps(state_to_json(play.state))))
    assert calls_in_flight(play.workflow, play.state, play.values) == (order,)
    play.tell(CallsLost())
    play.tell(play.failed("b/compensate", BUSY))
    play.later(timedelta(seconds=1))
    assert play.calls()["b/compensate"].attempt == 2
    play.tell(PauseRequested())
    play.tell(play.succeeded("b/compensate"))
    assert play.calls() == {}
    play.tell(ResumeRequested())
    assert play.calls()["a/compensate"].input == {"of": {"x": 1.0}}
    play.tell(play.failed("a/compensate", WRONG))
    assert play.state.status is ExecutionStatus.FAILED
    assert play.state.failure.message == "Step c failed: wrong"  # type: ignore[union-attr]
    assert play.types()[-2:] == ["step.failed a/compensate", "execution.failed"]


def test_a_cancelled_execution_is_undone_when_that_is_asked_for() -> None:
    play = Play(program(*chain(undone("a"), step("b"))))
    play.tell(play.succeeded("a"))
    play.tell(PauseRequested())
    play.tell(CancelRequested(compensate=True))
    assert play.cancels() == ["b"]
    assert play.calls().keys() == {"a/compensate"}
    play.tell(CancelRequested())
    play.tell(play.succeeded("a/compensate"))
    assert play.state.status is ExecutionStatus.CANCELLED
    play = Play(play.workflow)
    play.tell(play.succeeded("a"))
    play.tell(CancelRequested())
    assert play.state.status is ExecutionStatus.CANCELLED, "not asked for"
    play = Play(play.workflow)
    play.tell(play.succeeded("a"))
    play.tell(CancelRequested(compensate=True))
    play.tell(TerminateRequested())
    assert play.state.status is ExecutionStatus.TERMINATED


def test_what_the_items_of_a_map_did_is_undone_though_they_are_gone() -> None:
    mapped = MapStep(over="input.items", max_concurrency=1, steps=(undone("a"),))
    play = Play(program(*chain(step("m", mapped), step("b"))), {"items": [1.0, 2.0]})
    play.tell(play.succeeded("m/0/a", n=0.0))
    play.tell(play.succeeded("m/1/a", n=1.0))
    play.tell(play.failed("b", WRONG))
    assert play.calls()["m/1/a/compensate"].input == {"of": {"n": 1.0}}
    play.tell(play.succeeded("m/1/a/compensate"))
    assert play.calls()["m/0/a/compensate"].input == {"of": {"n": 0.0}}
    play.tell(play.succeeded("m/0/a/compensate"))
    assert play.state.status is ExecutionStatus.FAILED


def test_the_time_that_ran_out_does_not_keep_from_undoing() -> None:
    play = Play(program(*chain(undone("a"), step("b")), timeout=MINUTE))
    play.tell(play.succeeded("a"))
    play.later(MINUTE)
    assert play.calls().keys() == {"a/compensate"}
    play.later(MINUTE)
    assert play.state.status is ExecutionStatus.FAILED


def test_a_retry_takes_over_what_was_not_undone_and_can_undo_it() -> None:
    play = Play(program(*chain(undone("a"), undone("b"), step("c"))))
    play.tell(play.succeeded("a"))
    play.tell(play.succeeded("b"))
    play.tell(CancelRequested())
    again = Play(play.workflow)
    again.outputs = {}
    again.take(
        adopt(
            play.workflow,
            retry_of="e0",
            definition=play.workflow.definition,
            state=play.state,
            values=play.values,
            now=play.now,
            random=lambda: 0.5,
        )
    )
    assert again.calls().keys() == {"c"}
    again.tell(again.failed("c", WRONG))
    assert again.calls().keys() == {"b/compensate"}
    again.tell(again.succeeded("b/compensate"))
    again.tell(again.succeeded("a/compensate"))
    assert again.state.status is ExecutionStatus.FAILED
    third = adopt(
        play.workflow,
        retry_of="e1",
        definition=play.workflow.definition,
        state=again.state,
        values=again.values,
        now=play.now,
        random=lambda: 0.5,
    )
    assert third.state.undo == 0
    assert third.state.steps.keys() == {"a"}, "all was undone, so it is done anew"
