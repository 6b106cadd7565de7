"""Workflows that run others, as the decider orders them."""

from __future__ import annotations

import json
from datetime import timedelta

from brikk_shared.errors import Reason
from brikk_workflow.domain.children import MAX_DEPTH
from brikk_workflow.domain.decider import calls_in_flight, start
from brikk_workflow.domain.decision import (
    AttemptFailed,
    AttemptSucceeded,
    CallsLost,
    CancelRequested,
    ChildStarted,
    PauseRequested,
    StartChild,
    Values,
)
from brikk_workflow.domain.definition import Budget
from brikk_workflow.domain.kinds import WorkflowStep
from brikk_workflow.domain.state import ExecutionStatus, Inherited
from brikk_workflow.domain.state_json import state_from_json, state_to_json
from brikk_workflow.domain.usage import Usage
from support.play import NOW, WRONG, Play
from support.programs import chain, program, step

CHILD = WorkflowStep(workflow="${input.which}", input={"n": "${input.n}"})
HOUR = timedelta(hours=1)


def child_of(play: Play) -> StartChild:
    [order] = [each for each in play.last.commands if isinstance(each, StartChild)]
    return order


def answered(order: StartChild, **output: float) -> AttemptSucceeded:
    return AttemptSucceeded(
        step_id=order.step_id,
        token=order.token,
        agent="",
        latency=HOUR,
        output=output,
        usage=Usage(tokens=5, cost_micros=7),
        calls=3,
    )


def test_a_child_is_ordered_with_what_is_left_and_its_output_is_the_steps() -> None:
    steps = chain(step("a"), step("c", CHILD))
    workflow = program(
        *steps, output="${steps.c.output}", timeout=HOUR, budget=Budget(calls=10, tokens=100)
    )
    play = Play(workflow, {"which": "other", "n": 1.0})
    play.tell(play.succeeded("a", usage=Usage(tokens=1)))
    order = child_of(play)
    assert (order.workflow, order.version, order.input) == ("other", None, {"n": 1.0})
    assert order.inherited == Inherited(
        depth=2, deadline=NOW + HOUR, budget=Budget(calls=9, tokens=99)
    )
    play.state = state_from_json(json.loads(json.dumps(state_to_json(play.state))))
    assert calls_in_flight(play.workflow, play.state, play.values) == (order,)
    started = ChildStarted(step_id="c", token=order.token, execution="executions/x")
    play.tell(started)
    assert play.state.step("c").child == "executions/x"
    assert play.tell(started).history == ()
    play.tell(PauseRequested())
    play.tell(CallsLost())
    assert child_of(play).step_id == "c", "it runs on, so somebody has to follow"
    play.tell(answered(child_of(play), m=2.0))
    assert (play.state.status, play.last.output) == (ExecutionStatus.SUCCEEDED, {"m": 2.0})
    assert (play.state.calls, play.state.usage) == (4, Usage(tokens=6, cost_micros=7))


def test_a_child_that_fails_is_not_tried_again() -> None:
    play = Play(program(step("c", CHILD)), {"which": "other", "n": 1.0})
    order = child_of(play)
    play.tell(AttemptFailed(step_id="c", token=order.token, agent="", latency=HOUR, failure=WRONG))
    assert play.state.status is ExecutionStatus.FAILED


def test_a_child_is_cancelled_with_its_step() -> None:
    play = Play(program(step("c", CHILD)), {"which": "other", "n": 1.0})
    play.tell(CancelRequested())
    assert play.cancels() == ["c"]


def test_what_is_inherited_bounds_an_execution() -> None:
    inherited = Inherited(depth=MAX_DEPTH, deadline=NOW + HOUR, budget=Budget(calls=0))
    for kind, reason in ((None, Reason.BUDGET_EXCEEDED), (CHILD, Reason.NESTED_TOO_DEEP)):
        begun = start(
            program(step("c", kind)),
            values=Values(execution="e", input={"which": "a", "n": 1.0}, outputs={}),
            now=NOW,
            random=lambda: 0.5,
            inherited=inherited,
        )
        assert begun.state.deadline == NOW + HOUR
        failed = begun.state.failure if kind is None else begun.state.step("c").failure
        assert failed is not None
        assert failed.reason is reason
        assert state_from_json(json.loads(json.dumps(state_to_json(begun.state)))) == begun.state
