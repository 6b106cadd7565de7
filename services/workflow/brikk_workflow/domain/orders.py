"""From a step to the order that calls an agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

from brikk_shared.label_selector import MalformedSelector, parse_selector
from brikk_workflow.domain.compiled import COMPENSATE, CompiledStep, Role
from brikk_workflow.domain.decision import Call
from brikk_workflow.domain.expression import ExpressionFailed
from brikk_workflow.domain.payload import Json, check
from brikk_workflow.domain.reading import Reading, agents_of
from brikk_workflow.domain.scope import Scope
from brikk_workflow.domain.state import StepState
from brikk_workflow.domain.template import Template, as_text

MAX_TEXT = 1024
"""Most characters of what decides who is called."""


class Rendered(NamedTuple):
    """What a call says, its expressions evaluated."""

    capability: str
    input: Mapping[str, Json]
    affinity: str = ""
    selector: str = ""
    agent: str = ""


def undo_of(number: int) -> str:
    """Return where the call of a compensation lies among the outputs."""
    return f"/undo/{number}"


def render(reading: Reading, path: str, compiled: CompiledStep, undo: int) -> Rendered:
    """Return what a step's call says. Raises ExpressionFailed and PayloadRefused.

    That of a compensation was rendered when its step succeeded; `undo` is how many are left.
    """
    if compiled.step.id == COMPENSATE:
        stored = cast("Mapping[str, Mapping[str, Json]]", reading.output(undo_of(undo - 1)))
        return Rendered(**stored["call"])  # type: ignore[arg-type]  # as `kept` wrote it
    prefix, body = compiled.prefix(path), compiled.body
    rendered = render_call(compiled, reading.scope(prefix, body))
    if body.role is not Role.LEG:
        return rendered
    agents = cast("list[str]", reading.output(agents_of(body.container(prefix))))
    return rendered._replace(agent=agents[body.number(prefix)])


def render_call(compiled: CompiledStep, scope: Scope) -> Rendered:
    """Return what a call says. Raises ExpressionFailed and PayloadRefused."""
    call = compiled.call
    rendered = call.input.render(scope)
    check(rendered, "input")
    assert isinstance(rendered, Mapping)  # the language has it so
    kind = call.kind
    return Rendered(
        capability=_text(call.capability, scope)
        if call.capability.expressions
        else kind.capability,
        input=rendered,
        affinity=_text(call.affinity, scope) if kind.affinity else "",
        selector=_selector(call.selector, scope) if kind.selector else "",
    )


def make_call(path: str, compiled: CompiledStep, step: StepState, rendered: Rendered) -> Call:
    """Return the order for the attempt that a step is in."""
    timeout = compiled.step.timeout
    return Call(
        step_id=path,
        capability=rendered.capability,
        policy=compiled.call.kind.policy,
        attempt=step.attempt,
        token=step.token,
        input=rendered.input,
        timeout=timeout.start_to_close,
        heartbeat=timeout.heartbeat,
        affinity=rendered.affinity,
        selector=rendered.selector,
        agent=rendered.agent,
    )


def _selector(template: Template, scope: Scope) -> str:
    text = _text(template, scope)
    if template.expressions:  # or it was read when the workflow was made
        try:
            parse_selector(text)
        except MalformedSelector as error:
            problem = f"the result `{text}` is no selector: {error.problem}"
            raise ExpressionFailed(_written(template), problem) from error
    return text


def _text(template: Template, scope: Scope) -> str:
    text = as_text(template.render(scope))
    if not 0 < len(text) <= MAX_TEXT:
        problem = f"the result must have 1 to {MAX_TEXT} characters"
        raise ExpressionFailed(_written(template), problem)
    return text


def _written(template: Template) -> str:
    return " ".join(each.text for _, each in template.expressions)
