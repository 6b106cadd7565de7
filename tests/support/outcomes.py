"""How an execution ended, and when two of them ended alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionStatus, StepStatus


@dataclass(kw_only=True)
class Outcome:
    """How an execution ended: its steps by path, the calls that undid it, its events, its children.

    `racing` are the steps that were cancelled if they had not ended when a join was reached.
    `attempts` counts the calls that were answered, those of its children included.
    """

    status: ExecutionStatus = ExecutionStatus.RUNNING
    output: Json = None
    failure: tuple[str, str] | None = None
    steps: dict[str, StepStatus] = field(default_factory=dict)
    undone: list[tuple[str, str, Json]] = field(default_factory=list)
    emitted: list[tuple[str, Json]] = field(default_factory=list)
    attempts: int = 0
    children: dict[str, Outcome] = field(default_factory=dict)
    racing: set[str] = field(default_factory=set)


def alike(outcome: Outcome, meant: Outcome) -> Mapping[str, object]:
    """Return what must be the same of an outcome, but for what has raced where it was meant to.

    Events of steps beside one another come in any order.
    """
    lost = tuple(f"{path}/" for path in meant.racing)
    return {
        "status": outcome.status,
        "output": outcome.output,
        "failure": outcome.failure,
        "undone": outcome.undone,
        "emitted": sorted(outcome.emitted, key=repr),
        "attempts": None if _races(meant) else outcome.attempts,
        "steps": {
            path: status
            for path, status in outcome.steps.items()
            if path not in meant.racing and not path.startswith(lost)
        },
        "children": {
            path: alike(child, meant.children.get(path, Outcome()))
            for path, child in outcome.children.items()
        },
    }


def _races(meant: Outcome) -> bool:
    return bool(meant.racing) or any(map(_races, meant.children.values()))
