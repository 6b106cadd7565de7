"""Lists of steps: what each does, what has no meaning for it, and which one it follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from brikk_shared.path import Path
from brikk_workflow.domain.definition import Step
from brikk_workflow.domain.kinds import KINDS, CallStep, word_of
from brikk_workflow.domain.objects import Object
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.problems import Report
from brikk_workflow.domain.shapes import UNREAD, Items

CALLS_ONLY = ("retry", "at_most_once")
"""Keys of a step that have a meaning for calls only; of `timeout` it is all but one."""

WHOLE_STEP = "schedule_to_close"


class Steps:
    """A list of steps, in which each follows the one above it unless it says otherwise.

    `step` gives the keys of a step, among which lists of steps are again.
    """

    def __init__(self, step: Callable[[], Object], *, most: int, deepest: int) -> None:
        self._step = step
        self._most = most
        self._deepest = deepest

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        if nesting(path) > self._deepest:
            problem = f"nests too deeply: steps stand in one another at most {self._deepest} deep"
            report.value(path, f"{problem}; put some into a workflow of their own")
            return ()
        items = Items(_StepShape(self._step()), self._most, 1).read(raw, path, report)
        if items is UNREAD:
            return UNREAD
        steps: list[Step] = []
        for members in items:
            if "after" not in members and steps:
                members["after"] = (steps[-1].id,)
            steps.append(Step(**members))
        return tuple(steps)

    def write(self, value: Sequence[Step]) -> list[dict[str, Any]]:
        """Write them, each with the steps that it waits for."""
        return [_StepShape(self._step()).write(step) for step in value]

    def blank(self) -> tuple[()]:
        """Stand for one."""
        return ()

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        return {"$ref": "#/$defs/steps"}

    def definitions(self) -> dict[str, Json]:
        """Return what the schema leads to."""
        step = _StepShape(self._step())
        items: dict[str, Json] = {"$ref": "#/$defs/step"}
        steps: Json = {"type": "array", "items": items, "minItems": 1, "maxItems": self._most}
        one: Json = step.schema()
        return {"steps": steps, "step": one}


class _StepShape:
    """A step, read into the members that it is made of: which it follows is not known yet."""

    def __init__(self, step: Object) -> None:
        self._step = step

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        members = self._step.members(raw, path, report)
        if members is None or not isinstance(raw, Mapping):
            return {"id": "", "kind": CallStep(capability="")}
        kinds = [word for word in raw if word in KINDS]
        if not kinds:
            report.value(path, f"lacks what it does: one of {', '.join(KINDS)}")
        for word in kinds[1:]:
            problem = f"a step does one thing, and this one has `{kinds[0]}`: make two steps"
            report.key((*path, word), problem)
        members.setdefault("kind", CallStep(capability=""))
        if kinds and "call" not in kinds:
            _check_for_calls(raw, kinds[0], path, report)
        return members

    def write(self, value: Step) -> dict[str, Any]:
        """Write one, without what has no meaning for it."""
        word = word_of(value.kind)
        leave_out = {*KINDS, *CALLS_ONLY, "timeout"} if word != "call" else {*KINDS}
        plain = self._step.write(value, leave_out=leave_out - {word})
        plain["after"] = list(value.after)
        close = value.timeout.schedule_to_close
        if word != "call" and close is not None:
            plain["timeout"] = {WHOLE_STEP: close}
        return plain

    def blank(self) -> Any:
        """Stand for one."""
        return self.read({}, (), Report())

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        whole_step: Json = {"propertyNames": {"const": WHOLE_STEP}}
        return self._step.schema() | {
            "oneOf": [{"required": [word]} for word in KINDS],
            "dependentRequired": {key: ["call"] for key in CALLS_ONLY},
            "if": {"required": ["call"]},
            "else": {"properties": {"timeout": whole_step}},
        }


def nesting(path: Path) -> int:
    """Return how many lists of steps a path leads through."""
    return sum(part in ("steps", "default") for part in path)


def _check_for_calls(raw: Mapping[str, object], word: str, path: Path, report: Report) -> None:
    for key in CALLS_ONLY:
        if key in raw:
            report.key((*path, key), f"has no meaning for `{word}`: only calls are repeated")
    timeout = raw.get("timeout")
    if isinstance(timeout, Mapping):
        for key in timeout:
            if key != WHOLE_STEP:
                problem = f"has no meaning for `{word}`: it has `{WHOLE_STEP}` alone"
                report.key((*path, "timeout", key), problem)
