"""The engine's core: what follows from the events of an execution. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from brikk_workflow.domain.adoption import adoptable, adoptable_undo
from brikk_workflow.domain.children import bequeath, make_child
from brikk_workflow.domain.compiled import CompiledChild, CompiledSeveral, CompiledWorkflow
from brikk_workflow.domain.decision import AskBids, Call, Decision, Event, StartChild, Values
from brikk_workflow.domain.definition import WorkflowDefinition
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.fold import apply
from brikk_workflow.domain.holding import queue
from brikk_workflow.domain.orders import make_call, render, undo_of
from brikk_workflow.domain.reading import STATE, Reading
from brikk_workflow.domain.several import ask_bids
from brikk_workflow.domain.state import ExecutionState, Inherited
from brikk_workflow.domain.steps import enter


def start(
    workflow: CompiledWorkflow,
    *,
    values: Values,
    now: datetime,
    random: Callable[[], float],
    queued: bool = False,
    inherited: Inherited | None = None,
) -> Decision:
    """Begin an execution: the steps that wait for nothing are called.

    With `queued` there is no place for it yet: it is only recorded, and begins once Admitted.
    `inherited` bounds one that another execution runs.
    """
    deadline = now + workflow.definition.timeout
    if inherited is not None:
        deadline = min(deadline, inherited.deadline)
    state = ExecutionState(started_at=now, deadline=deadline, inherited=inherited)
    draft = Draft(workflow, state, values, now, random)
    draft.journal.started()
    _begin(draft, queued)
    return draft.decision()


def adopt(
    workflow: CompiledWorkflow,
    *,
    retry_of: str,
    definition: WorkflowDefinition,
    state: ExecutionState,
    from_step: str = "",
    values: Values,
    now: datetime,
    random: Callable[[], float],
    queued: bool = False,
) -> Decision:
    """Begin an execution in the place of one that ended, with what that one had done.

    `retry_of` is its id, `definition` what it ran and `state` how it ended; `from_step` and what
    follows it is done again in any case. `values` are those of the new execution with the outputs
    of the old; those it adopts are in the decision's outputs.
    """
    steps = adoptable(workflow.definition, definition, state, from_step)
    outputs = {path: values.outputs[path] for path in steps if path in values.outputs}
    undo = adoptable_undo(steps, state, values)
    outputs.update({undo_of(number): each for number, each in enumerate(undo)})
    if state.state_version:
        outputs[STATE] = values.outputs.get(STATE, {})
    begun = ExecutionState(
        started_at=now,
        deadline=now + workflow.definition.timeout,
        state_version=state.state_version,
        undo=len(undo),
        steps=steps,
    )
    draft = Draft(workflow, begun, replace(values, outputs={}), now, random)
    draft.outputs.update(outputs)
    draft.journal.started(retry_of, from_step)
    for step_id in steps:
        draft.journal.adopted(step_id)
    _begin(draft, queued)
    return draft.decision()


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
    draft = Draft(workflow, state, values, now, random)
    for event in events:
        apply(draft, event)
    return draft.decision()


def calls_in_flight(
    workflow: CompiledWorkflow, state: ExecutionState, values: Values
) -> tuple[Call | AskBids | StartChild, ...]:
    """Return the orders of all RUNNING steps, to send what was recorded and perhaps never sent."""
    reading = Reading(workflow, values, {}, state.steps, state.state_version)
    orders: list[Call | AskBids | StartChild] = []
    for path, step in state.steps.items():
        if not step.token:
            continue
        compiled = workflow.at(path)
        if isinstance(compiled.work, CompiledChild):
            inherited = bequeath(workflow, state)
            orders.append(make_child(reading, path, compiled, step.token, inherited))
        elif isinstance(compiled.work, CompiledSeveral):
            orders.append(ask_bids(reading, path, compiled, step.token))
        else:
            rendered = render(reading, path, compiled, state.undo)
            orders.append(make_call(path, compiled, step, rendered))
    return tuple(orders)


def _begin(draft: Draft, queued: bool) -> None:
    if queued:
        queue(draft)
    else:
        enter(draft)
