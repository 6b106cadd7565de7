"""Short ways to write down workflows of every kind of step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from brikk_workflow.domain.compile import compile_workflow
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.definition import Step, WorkflowDefinition
from brikk_workflow.domain.kinds import CallStep, EmitStep, FailStep, Kind, ReturnStep, SetStep
from brikk_workflow.domain.payload import Json


def step(step_id: str, kind: Kind | None = None, **fields: Any) -> Step:
    """A step; without a kind it calls the capability `t.<id>`."""
    return Step(id=step_id, kind=kind or CallStep(capability=f"t.{step_id}"), **fields)


def called(step_id: str, given: Mapping[str, Json], **fields: Any) -> Step:
    """A step that calls the capability `t.<id>` with an input."""
    return step(step_id, CallStep(capability=f"t.{step_id}", input=given), **fields)


def puts(step_id: str, values: Mapping[str, Json], **fields: Any) -> Step:
    """A step that writes the state."""
    return step(step_id, SetStep(values=values), **fields)


def emits(step_id: str, kind: str, **fields: Any) -> Step:
    """A step that announces an event."""
    return step(step_id, EmitStep(type=kind), **fields)


def fails(step_id: str, reason: str = "ON_PURPOSE", **fields: Any) -> Step:
    """A step that fails."""
    return step(step_id, FailStep(reason=reason), **fields)


def returns(step_id: str, output: Json, **fields: Any) -> Step:
    """A step that ends the execution."""
    return step(step_id, ReturnStep(output=output), **fields)


def chain(*steps: Step) -> tuple[Step, ...]:
    """Steps one after the other."""
    return tuple(
        replace(each, after=(steps[place - 1].id,)) if place else each
        for place, each in enumerate(steps)
    )


def program(*steps: Step, output: Json = None, **fields: Any) -> CompiledWorkflow:
    """A workflow of these steps, in the order that their `after` says."""
    definition = WorkflowDefinition(id="program", steps=steps, output=output, **fields)
    return compile_workflow(definition, version=1)
