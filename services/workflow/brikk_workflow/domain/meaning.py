"""Keys of a step that do not go together."""

from __future__ import annotations

from brikk_shared.label_selector import MalformedSelector, parse_selector
from brikk_shared.path import Path
from brikk_workflow.domain.definition import AtMostOnce, Step
from brikk_workflow.domain.kinds import CallStep, LoopStep, Select, WaitStep
from brikk_workflow.domain.problems import Report


def check_meaning(step: Step, at: Path, report: Report) -> None:
    """Report the keys that contradict one another, or mean nothing beside the others."""
    kind = step.kind
    match kind:
        case CallStep():
            _check_call(kind, (*at, "call"), report)
            limited = step.timeout.schedule_to_close is not None
            if (
                kind.select is not Select.ONE
                and step.at_most_once is AtMostOnce.SUSPEND
                and limited
            ):
                problem = f"has no meaning beside `schedule_to_close` with `select: {kind.select}`"
                report.value((*at, "at_most_once"), problem)
            if step.at_most_once is not None and kind.select is Select.RACE:
                problem = "has no meaning with `select: race`: several agents do the same"
                report.value((*at, "at_most_once"), problem)
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
        call, place = step.compensate.call, (*at, "compensate", "call")
        _check_call(call, place, report)
        if call.select is not Select.ONE:
            problem = "has no meaning here: one agent undoes a step"
            report.value((*place, "select"), problem)


def _check_call(call: CallStep, at: Path, report: Report) -> None:
    without = f"has no meaning with `select: {call.select}`"
    if call.quorum is not None and call.select is not Select.ALL:
        report.value((*at, "quorum"), f"{without}: it is for `all`")
    elif call.quorum is not None and call.quorum.items > call.max_agents:
        problem = f"is {call.quorum.items}, and at most {call.max_agents} agents are called"
        report.value((*at, "quorum"), f"{problem}: raise `max_agents`")
    if call.max_agents != CallStep(capability="").max_agents and call.select is Select.ONE:
        report.value((*at, "max_agents"), f"{without}: it is for several agents")
    if call.bids is not None and call.select is not Select.BIDS:
        report.value((*at, "bids"), f"{without}: it is for `bids`")
    if call.affinity and call.select is not Select.ONE:
        report.value((*at, "affinity"), f"{without}: several agents are called")
    if "${" not in call.selector:
        try:
            parse_selector(call.selector)
        except MalformedSelector as error:
            problem = f"`{call.selector}`: {error.problem} (character {error.position})"
            report.value((*at, "selector"), problem)
