"""What is drawn of a workflow: its steps, what stands inside them, and which follows which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brikk_workflow.domain.definition import Step, WorkflowDefinition
from brikk_workflow.domain.duration import format_duration
from brikk_workflow.domain.kinds import (
    CallStep,
    EmitStep,
    FailStep,
    Kind,
    LoopStep,
    MapStep,
    ReturnStep,
    Select,
    SetStep,
    SignalStep,
    SwitchStep,
    WaitStep,
    WorkflowStep,
    word_of,
)
from brikk_workflow.domain.language import QUORUM
from brikk_workflow.domain.state import StepState, StepStatus

_LONGEST = 60

# Of several instances of a step the one that most needs to be looked at gives it its colour.
_FIRST = (
    StepStatus.UNKNOWN,
    StepStatus.FAILED,
    StepStatus.RUNNING,
    StepStatus.BACKING_OFF,
    StepStatus.WAITING,
    StepStatus.CANCELLED,
    StepStatus.SUCCEEDED,
    StepStatus.SKIPPED,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A step, or a part of one such as a case of a switch; `lines` say what it is.

    `key` is unique in the picture. `status` is empty where nothing is known of it.
    """

    key: str
    lines: tuple[str, ...]
    status: str = ""
    inside: tuple[Box, ...] = ()
    arrows: tuple[Arrow, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrow:
    """One follows another; when that one fails, if it is a `catch`."""

    start: str
    end: str
    catch: bool = False


def draw(definition: WorkflowDefinition, states: Mapping[str, StepState]) -> Box:
    """Return the picture of a workflow, or of an execution by the states of its steps."""
    by_id: dict[str, list[StepState]] = {}
    for path, state in states.items():
        by_id.setdefault(path.rpartition("/")[2], []).append(state)
    inside, arrows = _boxes(definition.steps, by_id)
    return Box(key="", lines=(definition.id,), inside=inside, arrows=arrows)


def _boxes(
    steps: Sequence[Step], states: Mapping[str, Sequence[StepState]]
) -> tuple[tuple[Box, ...], tuple[Arrow, ...]]:
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    for step in steps:
        boxes.append(_box(step, states))
        arrows += (Arrow(start=before, end=step.id) for before in step.after)
        for number, catch in enumerate(step.catch, 1):
            key = f"{step.id}.catch{number}"
            errors = ", ".join(catch.errors) or "any failure"
            boxes.append(_part(key, f"catch {errors}", catch.steps, states))
            arrows.append(Arrow(start=step.id, end=key, catch=True))
    return tuple(boxes), tuple(arrows)


def _box(step: Step, states: Mapping[str, Sequence[StepState]]) -> Box:
    instances = states.get(step.id, ())
    inside, arrows = _inside(step, states)
    return Box(
        key=step.id,
        lines=(step.id, *_lines(step), *_progress(instances)),
        status=_status(instances),
        inside=inside,
        arrows=arrows,
    )


def _inside(
    step: Step, states: Mapping[str, Sequence[StepState]]
) -> tuple[tuple[Box, ...], tuple[Arrow, ...]]:
    kind = step.kind
    match kind:
        case MapStep() | LoopStep():
            return _boxes(kind.steps, states)
        case SwitchStep():
            parts = [
                _part(f"{step.id}.case{number}", f"when {case.when}", case.steps, states)
                for number, case in enumerate(kind.cases, 1)
            ]
            if kind.default:
                parts.append(_part(f"{step.id}.default", "otherwise", kind.default, states))
            return tuple(parts), ()
        case _:
            return (), ()


def _part(
    key: str, line: str, steps: Sequence[Step], states: Mapping[str, Sequence[StepState]]
) -> Box:
    inside, arrows = _boxes(steps, states)
    return Box(key=key, lines=(_short(line),), inside=inside, arrows=arrows)


def _lines(step: Step) -> list[str]:
    lines = [_short(f"{word_of(step.kind)} {_object(step.kind)}".rstrip())]
    if isinstance(step.kind, CallStep) and step.kind.select is not Select.ONE:
        lines.append(_several(step.kind))
    if step.join is not None:
        lines.append(f"after {step.join} of {len(step.after)}")
    if step.when:
        lines.append(_short(f"when {step.when}"))
    if step.compensate is not None:
        lines.append(_short(f"undone by {step.compensate.call.capability}"))
    return lines


def _several(call: CallStep) -> str:
    line = f"{call.select} of at most {call.max_agents} agents"
    if call.quorum is None:
        return line
    return f"{line}, quorum {QUORUM.write(call.quorum)}"


def _object(kind: Kind) -> str:
    match kind:
        case CallStep():
            return kind.capability
        case MapStep():
            return f"{kind.variable} in {kind.over}"
        case LoopStep():
            until = f"until {kind.until}" if kind.until else ""
            return f"while {kind.while_} {until}" if kind.while_ else until
        case WaitStep():
            return kind.until if kind.duration is None else format_duration(kind.duration)
        case SignalStep():
            return kind.name
        case WorkflowStep():
            return kind.workflow
        case EmitStep():
            return kind.type
        case SetStep():
            return ", ".join(kind.values)
        case FailStep():
            return kind.reason
        case ReturnStep() | SwitchStep():
            return ""


def _status(instances: Sequence[StepState]) -> str:
    found = {each.status for each in instances}
    return next((status.value for status in _FIRST if status in found), "")


def _progress(instances: Sequence[StepState]) -> list[str]:
    """Return how far a map or a loop has come, where there is one instance of it."""
    if len(instances) != 1 or instances[0].progress is None:
        return []
    progress = instances[0].progress
    done = (
        f"{progress.done} of {progress.total} done" if progress.total else f"{progress.done} done"
    )
    return [f"{done}, {progress.failed} failed" if progress.failed else done]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
