"""Whether a definition hangs together: its graph, its expressions, its schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from graphlib import CycleError, TopologicalSorter

from brikk_workflow.domain.definition import Step, WorkflowDefinition
from brikk_workflow.domain.expression import Expression, ExpressionInvalid, compile_expression
from brikk_workflow.domain.path import Path
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.problems import Report
from brikk_workflow.domain.schema import SchemaInvalid, compile_schema
from brikk_workflow.domain.template import TemplateInvalid, compile_template

MAX_EXPRESSIONS = 2000
MAX_MACROS = 100
"""List macros of a workflow: each may take 20 ms, and steps that begin together wait for all."""


def check_definition(definition: WorkflowDefinition, report: Report) -> None:
    """Report everything for which the definition cannot be run."""
    if definition.input_schema is not None:
        try:
            compile_schema(definition.input_schema)
        except SchemaInvalid as error:
            for path, problem in error.problems:
                report.value(("input_schema", *path), problem)
    upstream = _upstream(definition.steps, report)
    macros = 0
    for count, (reader, path, expression) in enumerate(_expressions(definition, report), 1):
        macros += expression.macros
        if count > MAX_EXPRESSIONS or macros > MAX_MACROS:
            report.value(
                path,
                f"is too much: a workflow has at most {MAX_EXPRESSIONS} expressions and"
                f" {MAX_MACROS} list macros",
            )
            return
        for name in expression.steps:
            _check_read(name, reader, upstream, path, report)


def _upstream(steps: Sequence[Step], report: Report) -> Mapping[str, Set[str] | None]:
    """Return what is done when each step begins; None where that cannot be told."""
    ids = {step.id for step in steps}
    seen: set[str] = set()
    for index, step in enumerate(steps):
        if step.id in seen and step.id:
            report.value(("steps", index, "id"), f"there is a step `{step.id}` above already")
        seen.add(step.id)
        for place, before in enumerate(step.after):
            path: Path = ("steps", index, "after", place)
            if before not in ids:
                report.value(path, f"there is no step `{before}`{report.nearest(before, ids)}")
            elif before in step.after[:place]:
                report.value(path, f"`{before}` is named twice")
    upstream: dict[str, Set[str] | None] = dict.fromkeys(ids)
    if len(ids) < len(steps):
        return upstream
    graph = {step.id: ids.intersection(step.after) for step in steps}
    for step_id in _in_order(steps, graph, report):
        done = set(graph[step_id])
        for before in graph[step_id]:
            done |= upstream[before] or set()
        upstream[step_id] = done
    return upstream


def _in_order(
    steps: Sequence[Step], graph: Mapping[str, Set[str]], report: Report
) -> Iterator[str]:
    """Return the steps, those they wait for first; steps that wait for one another are left out."""
    rest = dict(graph)
    index = {step.id: number for number, step in enumerate(steps)}
    while True:
        try:
            return iter(tuple(TopologicalSorter(rest).static_order()))
        except CycleError as error:
            cycle: list[str] = error.args[1]
            first = min(cycle, key=index.__getitem__)
            start = cycle.index(first)
            turn = [*cycle[start:-1], *cycle[:start], first]
            problem = f"the steps follow one another in a circle: {' -> '.join(turn)}"
            report.value(("steps", index[first], "after"), problem)
            rest = {step: before - set(cycle) for step, before in rest.items() if step not in cycle}


def _check_read(
    name: str, reader: str, upstream: Mapping[str, Set[str] | None], path: Path, report: Report
) -> None:
    """Report an expression that reads a step which may not be done when its own step begins."""
    if name not in upstream:
        report.value(path, f"there is no step `{name}`{report.nearest(name, upstream)}")
        return
    done, before_it = upstream.get(reader), upstream[name]
    if done is None or before_it is None or name in done:
        return
    if name == reader:
        problem = "a step cannot read its own output"
    elif reader in before_it:
        problem = f"`{name}` runs after `{reader}`, so its output is not there yet"
    else:
        problem = f"`{name}` may not be done yet: add it to the `after` of `{reader}`"
    report.value(path, problem)


def _expressions(
    definition: WorkflowDefinition, report: Report
) -> Iterator[tuple[str, Path, Expression]]:
    """Yield every expression that compiles, with the step it is in, "" for the output."""
    for index, step in enumerate(definition.steps):
        if report.full:
            return
        at: Path = ("steps", index)
        for path, expression in _condition(step.when, (*at, "when"), report):
            yield step.id, path, expression
        for path, expression in _template(step.call.input, (*at, "call", "input"), report):
            yield step.id, path, expression
    for path, expression in _template(definition.output, ("output",), report):
        yield "", path, expression


def _condition(text: str, path: Path, report: Report) -> Iterator[tuple[Path, Expression]]:
    if not text:
        return
    try:
        condition = compile_expression(text)
    except ExpressionInvalid as error:
        for problem in error.problems:
            report.value(path, f"`{text}`: {problem}")
        return
    if condition.type not in ("BOOL", "DYN"):
        report.value(path, f"`{text}`: expected a boolean, found {condition.type.lower()}")
    yield path, condition


def _template(value: Json, at: Path, report: Report) -> Iterator[tuple[Path, Expression]]:
    try:
        expressions = compile_template(value).expressions
    except TemplateInvalid as error:
        expressions = error.expressions
        for path, problem in error.problems:
            report.value((*at, *path), problem)
    for path, expression in expressions:
        yield (*at, *path), expression
