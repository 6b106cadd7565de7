"""For which agents an execution waits."""

from __future__ import annotations

from brikk_workflow.domain.compiled import CompiledCall, CompiledWorkflow
from brikk_workflow.domain.state import ExecutionState, ExecutionStatus, StepStatus


def awaited(workflow: CompiledWorkflow, state: ExecutionState) -> frozenset[str]:
    """Return the capabilities whose agents would move it on: none while it stands still."""
    if state.status is not ExecutionStatus.RUNNING:
        return frozenset()
    return frozenset(
        step.capability or work.kind.capability
        for path, step in state.steps.items()
        if step.status is StepStatus.WAITING
        and isinstance(work := workflow.at(path).work, CompiledCall)
    )
