"""Which steps an expression may read: those that are surely done, in its own list and around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from brikk_shared.path import Path
from brikk_workflow.domain.definition import Step
from brikk_workflow.domain.kinds import LoopStep, MapStep, SwitchStep
from brikk_workflow.domain.order import Before
from brikk_workflow.domain.problems import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What can be seen from a step; `around` is the sight of the step in which it stands.

    `caught` tells whether it stands in the catch of that one. The end of a workflow, where
    everything is done, has no step.
    """

    step: Step | None
    before: Before
    variables: tuple[str, ...] = ()
    around: Sight | None = None
    caught: bool = False


def check_read(
    name: str,
    member: str,
    sight: Sight,
    homes: Mapping[str, Step | None],
    path: Path,
    report: Report,
) -> None:
    """Report the reading of a step that may not be done, or cannot be seen from here.

    `homes` holds every step with the one in which it stands.
    """
    if name not in homes:
        report.value(path, f"there is no step `{name}`{report.nearest(name, homes)}")
        return
    problem = _problem(name, member, sight)
    if problem is None:
        problem = _inside_another(name, sight, homes)
    if problem:
        report.value(path, problem)


def _problem(name: str, member: str, sight: Sight) -> str | None:
    """Return what is wrong, "" when nothing is, None when no list from here outwards has it."""
    from_here: Sight | None = sight
    caught = False
    while from_here is not None:
        if name in from_here.before:
            if from_here.step is None:
                return ""
            if name != from_here.step.id:
                return _not_yet(name, from_here.step, from_here.before)
            if caught:
                failed = f"`{name}` failed, so it has no output: read `steps.{name}.error`"
                return "" if member == "error" else failed
            return _its_own(from_here.step, inner=from_here is not sight)
        caught = from_here.caught
        from_here = from_here.around
    return None


def _not_yet(name: str, reader: Step, before: Before) -> str:
    done, before_it = before[reader.id], before[name]
    if done is None or before_it is None or name in done:
        return ""
    if reader.id in before_it:
        return f"`{name}` runs after `{reader.id}`, so its output is not there yet"
    return f"`{name}` may not be done yet: add it to the `after` of `{reader.id}`"


def _its_own(step: Step, *, inner: bool) -> str:
    if not inner:
        return "a step cannot read its own output"
    hint = ": write `loop.last` for what its last turn put out" * isinstance(step.kind, LoopStep)
    return f"`{step.id}` is not done while the steps in it run{hint}"


def _inside_another(name: str, sight: Sight, homes: Mapping[str, Step | None]) -> str:
    """Return what to read instead of a step inside another one."""
    home = homes[name]
    while home is not None and _problem(home.id, "output", sight) is None:
        home = homes[home.id]
    if home is None:
        return f"`{name}` cannot be seen from here"
    what = f"`{name}` stands inside `{home.id}`, where only the steps beside it see it: "
    if sight.step is not None and home.id == sight.step.id and isinstance(home.kind, LoopStep):
        return f"{what}read `loop.last`, what the last of them put out"
    output = f"`steps.{home.id}.output`"
    match home.kind:
        case MapStep():
            return f"{what}read {output}, the list of what the items' last steps put out"
        case LoopStep() | SwitchStep():
            return f"{what}read {output}, what the last step put out"
        case _:
            return f"{what}read {output}"
