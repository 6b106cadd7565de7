"""Keys of a step that do not go together."""

from __future__ import annotations

from brikk_workflow.domain.definition import Step
from brikk_workflow.domain.kinds import CallStep, LoopStep, Select, WaitStep
from brikk_workflow.domain.path import Path
from brikk_workflow.domain.problems import Report

_SEVERAL = (Select.ALL, Select.RACE)


def check_meaning(step: Step, at: Path, report: Report) -> None:
    """Report the keys that contradict one another, or mean nothing beside the others."""
    kind = step.kind
    match kind:
        case CallStep():
            _check_call(kind, (*at, "call"), report)
        case LoopStep() if not kind.while_ and not kind.until:
            report.value((*at, "loop"), "would not end: write `while` or `until`")
        case WaitStep():
            if kind.duration is not None and kind.until:
                report.value((*at, "wait", "until"), "has no meaning beside `duration`")
            elif kind.duration is None and not kind.until:
                report.value((*at, "wait"), "lacks `duration` or `until`")
        case _:
            pass
    if step.compensate is not None:
        _check_call(step.compensate.call, (*at, "compensate", "call"), report)


def _check_call(call: CallStep, at: Path, report: Report) -> None:
    without = f"has no meaning with `select: {call.select}`"
    if call.quorum is not None and call.select is not Select.ALL:
        report.value((*at, "quorum"), f"{without}: it is for `all`")
    elif call.quorum is not None and call.quorum > call.max_agents:
        problem = f"is {call.quorum}, and at most {call.max_agents} agents are called"
        report.value((*at, "quorum"), f"{problem}: raise `max_agents`")
    if call.max_agents != CallStep(capability="").max_agents and call.select not in _SEVERAL:
        report.value((*at, "max_agents"), f"{without}: it is for `all` and `race`")
    if call.bids is not None and call.select is not Select.BIDS:
        report.value((*at, "bids"), f"{without}: it is for `bids`")
