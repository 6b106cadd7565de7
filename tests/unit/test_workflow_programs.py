"""Any program comes to the same under faults as it does in a small interpreter without any.

Below it stands what that has found.
"""

from __future__ import annotations

from datetime import timedelta
from random import Random

from hypothesis import given, reject, settings
from hypothesis import strategies as st

from brikk_workflow.domain.definition import Catch, Compensation, OnError, StepTimeout
from brikk_workflow.domain.kinds import CallStep, LoopStep, MapStep, SignalStep
from brikk_workflow.domain.state import ExecutionStatus
from support.any_program import INPUT, ROOT, SIGNALS, Program, programs
from support.outcomes import alike
from support.play import Play
from support.programs import chain, fails, program, puts, step
from support.reference import Interpreter, OutOfSignals
from support.theatre import Theatre

UNDO = Compensation(call=CallStep(capability="t.undo"))


@settings(max_examples=100, deadline=None)
@given(program=programs(), seed=st.integers(0, 2**32))
def test_any_program_comes_to_what_it_means(program: Program, seed: int) -> None:
    try:
        meant = Interpreter(program.definitions).run(ROOT, INPUT, SIGNALS)
    except OutOfSignals:
        reject()
    came = Theatre(program, Random(seed), INPUT, SIGNALS).outcome()
    assert alike(came, meant) == alike(meant, meant)


def test_what_fails_as_soon_as_it_begins_is_undone_first() -> None:
    play = Play(program(*chain(puts("a", {"n": 1}, compensate=UNDO), fails("b"))))
    assert play.status() is ExecutionStatus.RUNNING
    assert "a/compensate" in play.calls()
    play.tell(play.succeeded("a/compensate"))
    assert play.status() is ExecutionStatus.FAILED


def test_a_step_that_cannot_be_undone_fails_after_its_catch_as_well() -> None:
    lost = Compensation(call=CallStep(capability="t.undo", input={"n": "${input.nothing}"}))
    caught = fails("a", compensate=lost, catch=(Catch(steps=(puts("b", {"n": 1}),)),))
    output = {"output": "${steps.a.output}", "code": "${steps.a.error.code}"}
    assert Play(program(caught)).status() is ExecutionStatus.FAILED
    play = Play(program(step("a", compensate=lost, on_error=OnError.CONTINUE), output=output))
    play.tell(play.succeeded("a", n=1))
    assert play.last.output == {"output": None, "code": "FAILED_PRECONDITION"}


def test_an_iteration_that_puts_out_nothing_is_the_last_as_well() -> None:
    twice = MapStep(over="[1]", steps=(puts("c", {"n": 1}),))
    loop = LoopStep(while_="loop.index < 2.0", steps=(step("b", twice, when="loop.index < 1.0"),))
    play = Play(program(step("a", loop), output="${steps.a.output}"))
    assert (play.status(), play.last.output) == (ExecutionStatus.SUCCEEDED, None)


def test_the_catch_of_a_step_whose_time_was_up_has_that_time_anew() -> None:
    limit = StepTimeout(schedule_to_close=timedelta(seconds=10))
    catch = (Catch(errors=("STEP_TIMEOUT",), steps=(step("b"),)),)
    play = Play(program(step("a", SignalStep(name="never"), timeout=limit, catch=catch)))
    play.later(timedelta(seconds=10))
    assert "a/catch/b" in play.calls()
    play.later(timedelta(seconds=9))
    play.tell(play.succeeded("a/catch/b"))
    assert play.status() is ExecutionStatus.SUCCEEDED
