"""From a step to the order that calls an agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

from brikk_workflow.domain.compiled import COMPENSATE, CompiledStep
from brikk_workflow.domain.decision import Call
from brikk_workflow.domain.expression import ExpressionFailed
from brikk_workflow.domain.payload import Json, check
from brikk_workflow.domain.reading import Reading
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
    prefix = compiled.prefix(path)
    return render_call(compiled, reading.scope(prefix, compiled.body))


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
    )


def _text(template: Template, scope: Scope) -> str:
    text = as_text(template.render(scope))
    if not 0 < len(text) <= MAX_TEXT:
        written = " ".join(each.text for _, each in template.expressions)
        raise ExpressionFailed(written, f"the result must have 1 to {MAX_TEXT} characters")
    return text
