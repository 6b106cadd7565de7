"""How a step runs another workflow, within what its own execution has left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from brikk_workflow.domain.compiled import CompiledChild, CompiledStep, CompiledWorkflow
from brikk_workflow.domain.decision import ChildStarted, StartChild
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.payload import Json, check
from brikk_workflow.domain.reading import Reading
from brikk_workflow.domain.state import ExecutionState, Inherited
from brikk_workflow.domain.template import as_text
from brikk_workflow.domain.usage import left_of, tightest

MAX_DEPTH = 8
"""Most executions that run one another, the first included."""


def depth_of(of: Draft | ExecutionState) -> int:
    """Return how many executions run one another down to this one."""
    return of.inherited.depth if of.inherited else 1


def bequeath(workflow: CompiledWorkflow, of: Draft | ExecutionState) -> Inherited:
    """Return what an execution leaves to one that it runs."""
    budget = workflow.definition.budget
    if of.inherited is not None:
        budget = tightest(budget, of.inherited.budget)
    return Inherited(
        depth=depth_of(of) + 1,
        deadline=of.deadline,
        budget=left_of(budget, of.calls, of.usage),
    )


def make_child(
    reading: Reading, path: str, compiled: CompiledStep, token: str, inherited: Inherited
) -> StartChild:
    """Return the order that runs a step's workflow. Raises ExpressionFailed and PayloadRefused."""
    work = compiled.work
    assert isinstance(work, CompiledChild)  # whoever orders it has looked
    scope = reading.scope(compiled.prefix(path), compiled.body)
    given = work.input.render(scope)
    check(given, "input")
    return StartChild(
        step_id=path,
        token=token,
        workflow=as_text(work.workflow.render(scope)),
        version=work.kind.version,
        input=cast("Mapping[str, Json]", given),
        inherited=inherited,
    )


def child_started(draft: Draft, event: ChildStarted) -> None:
    """Keep which execution a step runs; said again, as after a crash, it is known."""
    step = draft.step(event.step_id)
    if step.token == event.token and step.child != event.execution:
        draft.steps[event.step_id] = replace(step, child=event.execution)
        draft.journal.child_started(event.step_id, event.execution)
