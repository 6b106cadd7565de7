"""Whether a definition hangs together: its order, its expressions, its schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from brikk_shared.json_schema import SchemaInvalid, compile_schema
from brikk_shared.path import Path
from brikk_workflow.domain.definition import Step, WorkflowDefinition
from brikk_workflow.domain.expression import Expression, ExpressionInvalid, compile_expression
from brikk_workflow.domain.formulas import Formula, Gives, formulas
from brikk_workflow.domain.language import MAX_STEPS
from brikk_workflow.domain.meaning import check_meaning
from brikk_workflow.domain.nested import all_of, inside
from brikk_workflow.domain.order import check_order
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.problems import Report
from brikk_workflow.domain.sight import Sight, check_read
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
    ids = _check_ids(definition, report)
    homes = _homes(definition.steps)
    macros = 0
    for count, (sight, path, expression) in enumerate(_expressions(definition, ids, report), 1):
        macros += expression.macros
        if count > MAX_EXPRESSIONS or macros > MAX_MACROS:
            report.value(
                path,
                f"is too much: a workflow has at most {MAX_EXPRESSIONS} expressions and"
                f" {MAX_MACROS} list macros",
            )
            return
        if path[-2:] == ("bids", "score") and expression.macros:
            report.value(
                path, "has a list macro, for each of the bids: work it out in a step before"
            )
        for name, member in expression.members:
            check_read(name, member, sight, homes, path, report)


def _check_ids(definition: WorkflowDefinition, report: Report) -> Set[str]:
    seen: set[str] = set()
    for count, (at, step) in enumerate(all_of(definition.steps), 1):
        if step.id in seen and step.id:
            report.value((*at, "id"), f"there is a step `{step.id}` above already")
        if count == MAX_STEPS + 1:
            problem = f"is too much: a workflow has at most {MAX_STEPS} steps, those inside others"
            report.value(at, f"{problem} included; put some into a workflow of their own")
        seen.add(step.id)
    return seen


def _homes(steps: Sequence[Step], home: Step | None = None) -> dict[str, Step | None]:
    homes = {step.id: home for step in steps}
    for step in steps:
        for each in inside(step):
            homes |= _homes(each.steps, step)
    return homes


def _expressions(
    definition: WorkflowDefinition, ids: Set[str], report: Report
) -> Iterator[tuple[Sight, Path, Expression]]:
    """Yield every expression that compiles, with what can be seen from where it stands."""
    for sight, at, formula in _formulas(definition.steps, ("steps",), None, (), ids, report):
        if report.full:
            return
        for path, expression in _compiled(formula, sight, at, report):
            yield sight, path, expression
    end = Sight(step=None, before=dict.fromkeys(step.id for step in definition.steps))
    output = Formula(at=("output",), value=definition.output)
    for path, expression in _compiled(output, end, output.at, report):
        yield end, path, expression


def _formulas(
    steps: Sequence[Step],
    at: Path,
    around: Sight | None,
    variables: tuple[str, ...],
    ids: Set[str],
    report: Report,
    *,
    caught: bool = False,
) -> Iterator[tuple[Sight, Path, Formula]]:
    """Yield what stands in the steps and in those inside, while their order is checked."""
    before = check_order(steps, at, ids, report)
    for index, step in enumerate(steps):
        place: Path = (*at, index)
        sight = Sight(step=step, before=before, variables=variables, around=around, caught=caught)
        check_meaning(step, place, report)
        for formula in formulas(step):
            yield _seen_by(formula, sight), (*place, *formula.at), formula
        for each in inside(step):
            yield from _formulas(
                each.steps,
                (*place, *each.at),
                sight,
                tuple(dict.fromkeys((*variables, *each.variables))),
                ids,
                report,
                caught=each.at[0] == "catch",
            )


def _seen_by(formula: Formula, sight: Sight) -> Sight:
    """Return what a formula sees: more than its step when that, or what is in it, is done."""
    step = sight.step
    done: list[str] = []
    if step is not None and formula.own:
        done = [step.id]
    elif step is not None and formula.inner:
        done = [inner.id for each in inside(step) if each.at[0] == "loop" for inner in each.steps]
    if not done:
        return sight
    before = dict.fromkeys(done)
    return Sight(step=None, before=before, variables=sight.variables, around=sight)


def _compiled(
    formula: Formula, sight: Sight, at: Path, report: Report
) -> Iterator[tuple[Path, Expression]]:
    variables = (*sight.variables, *formula.variables)
    if formula.gives is Gives.ANYTHING:
        yield from _template(formula.value, variables, at, report)
    elif isinstance(formula.value, str) and formula.value:
        yield from _expression(formula.value, variables, formula.gives, at, report)


def _expression(
    text: str, variables: Sequence[str], gives: Gives, path: Path, report: Report
) -> Iterator[tuple[Path, Expression]]:
    if "${" in text:
        report.value(path, f"`{text}` is an expression as a whole: leave out `${{` and `}}`")
        return
    try:
        expression = compile_expression(text, variables)
    except ExpressionInvalid as error:
        for problem in error.problems:
            report.value(path, f"`{text}`: {problem}")
        return
    if not gives.accepts(expression.type):
        report.value(path, f"`{text}`: expected {gives.words}, found {expression.type.lower()}")
    yield path, expression


def _template(
    value: Json, variables: Sequence[str], at: Path, report: Report
) -> Iterator[tuple[Path, Expression]]:
    try:
        expressions = compile_template(value, variables).expressions
    except TemplateInvalid as error:
        expressions = error.expressions
        for path, problem in error.problems:
            report.value((*at, *path), problem)
    for path, expression in expressions:
        yield (*at, *path), expression
