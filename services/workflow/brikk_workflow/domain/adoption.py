"""What of an execution holds by another definition: for its retry, or for itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from graphlib import TopologicalSorter

from brikk_workflow.domain.compiled import COMPENSATE
from brikk_workflow.domain.decision import Values
from brikk_workflow.domain.definition import WorkflowDefinition
from brikk_workflow.domain.orders import undo_of
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionState, StepState


def adoptable(
    definition: WorkflowDefinition,
    before: WorkflowDefinition,
    state: ExecutionState,
    from_step: str = "",
) -> Mapping[str, StepState]:
    """Return the steps that need not be done again.

    They are done and were not undone, are defined as they were, and so is all they wait for: what
    is made of something else now is made again. So is `from_step`, unless that is empty.
    """
    steps = {step.id: step for step in definition.steps}
    same = {step.id for step in before.steps if steps.get(step.id) == step} - {from_step}
    undone = {path.partition("/")[0] for path in state.steps if path.endswith(f"/{COMPENSATE}")}
    adopted: dict[str, StepState] = {}
    graph = {step.id: step.after for step in definition.steps}
    for step_id in TopologicalSorter(graph).static_order():
        step = state.step(step_id)
        if step_id in same - undone and step.status.done and adopted.keys() >= set(graph[step_id]):
            adopted[step_id] = step
    return adopted


def adoptable_undo(
    adopted: Collection[str], state: ExecutionState, values: Values
) -> Sequence[Mapping[str, Json]]:
    """Return the calls that undo the steps taken over, and those inside them, in their order."""
    kept = [values.outputs[undo_of(number)] for number in range(state.undo)]
    return [
        each
        for each in kept
        if isinstance(each, Mapping) and str(each["path"]).partition("/")[0] in adopted
    ]


def unfit(definition: WorkflowDefinition, before: WorkflowDefinition, state: ExecutionState) -> str:
    """Return a step for which an execution cannot go on by another definition, empty for none.

    What was begun must be there; what is not under way any more must be defined as it was, and so
    must that within which steps were begun.
    """
    steps = {step.id: step for step in definition.steps}
    same = {step.id for step in before.steps if steps.get(step.id) == step}
    for path, step in state.steps.items():
        step_id, _, inside = path.partition("/")
        whole = inside or step.progress is not None or not step.status.under_way
        if step_id not in (same if whole else steps):
            return step_id
    return ""
