"""For which agents an execution waits."""

from __future__ import annotations

from brikk_workflow.domain.asking import Ask, write_ask
from brikk_workflow.domain.compiled import (
    CompiledCall,
    CompiledSeveral,
    CompiledStep,
    CompiledWorkflow,
    Role,
)
from brikk_workflow.domain.several import least_of
from brikk_workflow.domain.state import ExecutionState, ExecutionStatus, StepState, StepStatus


def awaited(workflow: CompiledWorkflow, state: ExecutionState) -> frozenset[str]:
    """Return what would move it on, as `asking` writes it: nothing while it stands still."""
    if state.status is not ExecutionStatus.RUNNING:
        return frozenset()
    return frozenset(
        ask
        for path, step in state.steps.items()
        if step.status is StepStatus.WAITING and (ask := asked_by(workflow.at(path), step))
    )


def asked_by(compiled: CompiledStep, step: StepState) -> str:
    """Return what a waiting step asks for; empty if that is no agent."""
    if not isinstance(compiled.work, CompiledCall | CompiledSeveral):
        return ""
    kind = compiled.call.kind
    capability = step.capability or kind.capability
    if compiled.body.role is Role.LEG:
        return write_ask(Ask(capability, agent=step.agent))
    several = isinstance(compiled.work, CompiledSeveral)
    least = least_of(kind) if several else 1
    return write_ask(Ask(capability, step.selector or kind.selector, least=least))
