"""A definition made ready to run: expressions compiled once, the graph turned around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from brikk_workflow.domain.definition import Step, WorkflowDefinition
from brikk_workflow.domain.expression import Expression, compile_expression
from brikk_workflow.domain.schema import Schema, compile_schema
from brikk_workflow.domain.template import Template, compile_template


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledStep:
    """A step with its expressions compiled; `dependents` name it in their `after`."""

    step: Step
    when: Expression | None
    input: Template
    dependents: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledWorkflow:
    """What the decider runs. It is immutable and may be cached per workflow version."""

    definition: WorkflowDefinition
    version: int
    steps: Mapping[str, CompiledStep]
    output: Template
    input_schema: Schema | None


def compile_workflow(definition: WorkflowDefinition, *, version: int) -> CompiledWorkflow:
    """Compile an accepted definition, which takes about 30 us per expression."""
    dependents: dict[str, list[str]] = {step.id: [] for step in definition.steps}
    for step in definition.steps:
        for before in step.after:
            dependents[before].append(step.id)
    schema = definition.input_schema
    return CompiledWorkflow(
        definition=definition,
        version=version,
        steps={
            step.id: CompiledStep(
                step=step,
                when=compile_expression(step.when) if step.when else None,
                input=compile_template(step.call.input),
                dependents=tuple(dependents[step.id]),
            )
            for step in definition.steps
        },
        output=compile_template(definition.output),
        input_schema=None if schema is None else compile_schema(schema),
    )
