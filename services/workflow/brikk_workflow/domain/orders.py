"""From a step to the order that calls an agent."""

from __future__ import annotations

from collections.abc import Mapping

from brikk_workflow.domain.compiled import CompiledStep, CompiledWorkflow
from brikk_workflow.domain.decision import Call, Values
from brikk_workflow.domain.payload import Json, check
from brikk_workflow.domain.scope import Scope
from brikk_workflow.domain.state import ExecutionState, StepState, StepStatus


def readable_outputs(state: ExecutionState, values: Values) -> dict[str, Json]:
    """Return the outputs of the done steps; a skipped step's is null."""
    readable: dict[str, Json] = {
        step_id: None for step_id, step in state.steps.items() if step.status is StepStatus.SKIPPED
    }
    readable.update(values.outputs)
    return readable


def make_scope(workflow: CompiledWorkflow, outputs: Mapping[str, Json], values: Values) -> Scope:
    """Return what the expressions of an execution may read."""
    execution: dict[str, Json] = {
        "id": values.execution,
        "workflow": workflow.definition.id,
        "version": float(workflow.version),
    }
    return Scope(input=values.input, outputs=outputs, execution=execution)


def render_input(compiled: CompiledStep, scope: Scope) -> Mapping[str, Json]:
    """Return the input of a step's call. Raises ExpressionFailed and PayloadRefused."""
    rendered = compiled.input.render(scope)
    check(rendered, "input")
    assert isinstance(rendered, Mapping)  # the language has it so
    return rendered


def make_call(compiled: CompiledStep, step: StepState, payload: Mapping[str, Json]) -> Call:
    """Return the order for the attempt that a step is in."""
    return Call(
        step_id=compiled.step.id,
        capability=compiled.step.call.capability,
        policy=compiled.step.call.policy,
        attempt=step.attempt,
        token=step.token,
        input=payload,
        timeout=compiled.step.timeout.start_to_close,
        heartbeat=compiled.step.timeout.heartbeat,
    )
