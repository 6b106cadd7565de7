"""The steps of a workflow as the lines of a table, those inside others below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from brikk.workflow.v1 import workflow_pb2

Line = tuple[str, str, str, str]
"""A step, indented as deep as it stands; what it does, what it waits for, and its condition."""

_INDENT = "  "


def lines(steps: Sequence[workflow_pb2.WorkflowStep], depth: int = 0) -> Iterator[Line]:
    """Yields a line for each step of a list, and for each of those inside it."""
    for index, step in enumerate(steps):
        yield _INDENT * depth + step.step_id, _does(step), _after(steps, index), step.when
        yield from _inside(step, depth + 1)


def _inside(step: workflow_pb2.WorkflowStep, depth: int) -> Iterator[Line]:
    if step.HasField("map"):
        yield from lines(step.map.steps, depth)
    elif step.HasField("loop"):
        yield from lines(step.loop.steps, depth)
    for case in step.switch.cases:
        yield _INDENT * depth + "case", "", "", case.when
        yield from lines(case.steps, depth + 1)
    if step.switch.default:
        yield _INDENT * depth + "default", "", "", ""
        yield from lines(step.switch.default, depth + 1)
    for catch in step.catch:
        yield _INDENT * depth + "catch", ", ".join(catch.errors), "", ""
        yield from lines(catch.steps, depth + 1)
    if step.HasField("compensate"):
        yield _INDENT * depth + "compensate", f"call {step.compensate.call.capability}", "", ""


def _does(step: workflow_pb2.WorkflowStep) -> str:
    """The kind of a step, and what a call calls."""
    return f"{step.WhichOneof('kind')} {step.call.capability}".rstrip()


def _after(steps: Sequence[workflow_pb2.WorkflowStep], index: int) -> str:
    """The steps that a step waits for: those it names, else the one above it."""
    step = steps[index]
    if step.HasField("after"):
        return ", ".join(step.after.step_ids)
    return steps[index - 1].step_id if index else ""
