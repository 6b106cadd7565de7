"""The engine's core: what follows from the events of an execution. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.decision import Call, Decision, Event, Values
from brikk_workflow.domain.fold import Fold
from brikk_workflow.domain.orders import make_call, make_scope, readable_outputs, render_input
from brikk_workflow.domain.state import ExecutionState, StepStatus


def start(
    workflow: CompiledWorkflow, *, values: Values, now: datetime, random: Callable[[], float]
) -> Decision:
    """Begin an execution: the steps that wait for nothing are called."""
    state = ExecutionState(started_at=now, deadline=now + workflow.definition.timeout)
    fold = Fold(workflow, state, values, now, random)
    fold.start()
    return fold.decision()


def decide(
    workflow: CompiledWorkflow,
    state: ExecutionState,
    events: Sequence[Event],
    *,
    values: Values,
    now: datetime,
    random: Callable[[], float],
) -> Decision:
    """Fold events, in their order, into one decision.

    An execution that has ended absorbs everything. A result whose token is not that of the call
    in flight is only recorded. `random` answers in [0, 1) and spreads the waits of retries.
    """
    fold = Fold(workflow, state, values, now, random)
    for event in events:
        fold.apply(event)
    return fold.decision()


def calls_in_flight(
    workflow: CompiledWorkflow, state: ExecutionState, values: Values
) -> tuple[Call, ...]:
    """Return the orders of all RUNNING steps, to send what was recorded and perhaps never sent."""
    scope = make_scope(workflow, readable_outputs(state, values), values)
    return tuple(
        make_call(workflow.steps[step_id], step, render_input(workflow.steps[step_id], scope))
        for step_id, step in state.steps.items()
        if step.status is StepStatus.RUNNING
    )
