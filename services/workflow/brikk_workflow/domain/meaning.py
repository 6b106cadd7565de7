"""Keys of a step that do not go together."""

from __future__ import annotations

from brikk_shared.path import Path
from brikk_workflow.domain.definition import Step
from brikk_workflow.domain.kinds import LoopStep, WaitStep
from brikk_workflow.domain.problems import Report


def check_meaning(step: Step, at: Path, report: Report) -> None:
    """Report the keys that contradict one another, or mean nothing beside the others."""
    kind = step.kind
    match kind:
        case LoopStep() if not kind.while_ and not kind.until:
            report.value((*at, "loop"), "would not end: write `while` or `until`")
        case WaitStep():
            if kind.duration is not None and kind.until:
                report.value((*at, "wait", "until"), "has no meaning beside `duration`")
            elif kind.duration is None and not kind.until:
                report.value((*at, "wait"), "lacks `duration` or `until`")
        case _:
            pass
