"""The lists of steps that stand inside a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from brikk_shared.path import Path
from brikk_workflow.domain.definition import Step
from brikk_workflow.domain.kinds import LoopStep, MapStep, SwitchStep


@dataclass(frozen=True, kw_only=True, slots=True)
class Inside:
    """A list of steps, where it stands in its step, and the variables that this one declares."""

    at: Path
    steps: Sequence[Step]
    variables: tuple[str, ...] = ()


def inside(step: Step) -> Iterator[Inside]:
    """Yield the lists of steps directly inside a step, as they stand in its text."""
    kind = step.kind
    match kind:
        case MapStep():
            variables = (kind.variable, "loop")
            yield Inside(at=("map", "steps"), steps=kind.steps, variables=variables)
        case LoopStep():
            yield Inside(at=("loop", "steps"), steps=kind.steps, variables=("loop",))
        case SwitchStep():
            for index, case in enumerate(kind.cases):
                yield Inside(at=("switch", "cases", index, "steps"), steps=case.steps)
            yield Inside(at=("switch", "default"), steps=kind.default)
        case _:
            pass
    for index, catch in enumerate(step.catch):
        yield Inside(at=("catch", index, "steps"), steps=catch.steps)


def all_of(steps: Sequence[Step], at: Path = ("steps",)) -> Iterator[tuple[Path, Step]]:
    """Yield steps and all that are inside them, each with its place."""
    for index, step in enumerate(steps):
        yield (*at, index), step
        for each in inside(step):
            yield from all_of(each.steps, (*at, index, *each.at))
