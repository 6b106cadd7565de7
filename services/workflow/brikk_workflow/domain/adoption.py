"""What of an execution holds by another definition: for its retry, or for itself."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import TopologicalSorter

from brikk_workflow.domain.definition import WorkflowDefinition
from brikk_workflow.domain.state import ExecutionState, StepState


def adoptable(
    definition: WorkflowDefinition,
    before: WorkflowDefinition,
    state: ExecutionState,
    from_step: str = "",
) -> Mapping[str, StepState]:
    """Return the steps that need not be done again.

    They are done, defined as they were, and so is all they wait for: what is made of something
    else now is made again. So is `from_step`, unless that is empty.
    """
    steps = {step.id: step for step in definition.steps}
    same = {step.id for step in before.steps if steps.get(step.id) == step} - {from_step}
    adopted: dict[str, StepState] = {}
    graph = {step.id: step.after for step in definition.steps}
    for step_id in TopologicalSorter(graph).static_order():
        step = state.step(step_id)
        if step_id in same and step.status.done and adopted.keys() >= set(graph[step_id]):
            adopted[step_id] = step
    return adopted


def unfit(definition: WorkflowDefinition, before: WorkflowDefinition, state: ExecutionState) -> str:
    """Return a step for which an execution cannot go on by another definition, empty for none.

    What was begun must be there; what is not under way any more must be defined as it was.
    """
    steps = {step.id: step for step in definition.steps}
    same = {step.id for step in before.steps if steps.get(step.id) == step}
    for step_id, step in state.steps.items():
        if step_id not in (steps if step.status.under_way else same):
            return step_id
    return ""
