"""In which order the steps of a list run, and what is surely done when each begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from graphlib import CycleError, TopologicalSorter
from typing import TypeAlias

from brikk_shared.path import Path
from brikk_workflow.domain.definition import OnError, Step
from brikk_workflow.domain.kinds import FailStep, ReturnStep
from brikk_workflow.domain.problems import Report

Before: TypeAlias = Mapping[str, Set[str] | None]
"""The steps of a list by id, with those that are surely done when each begins.

None where that cannot be told.
"""


def check_order(steps: Sequence[Step], at: Path, elsewhere: Set[str], report: Report) -> Before:
    """Report what is wrong with the order; return what is done before each step.

    `elsewhere` are the ids of the steps of other lists.
    """
    ids = {step.id for step in steps}
    for index, step in enumerate(steps):
        for place, before in enumerate(step.after):
            path: Path = (*at, index, "after", place)
            if before in step.after[:place]:
                report.value(path, f"`{before}` is named twice")
            elif before in elsewhere - ids:
                report.value(path, f"`{before}` is not in this list of steps: name one beside it")
            elif before not in ids:
                report.value(path, f"there is no step `{before}`{report.nearest(before, ids)}")
        if step.join is not None and step.join > len(step.after):
            waits_for = f"it waits for {len(step.after)} step" + "s" * (len(step.after) != 1)
            report.value((*at, index, "join"), f"is {step.join}, and {waits_for}")
    if len(ids) < len(steps):
        return dict.fromkeys(ids)
    graph = {step.id: ids.intersection(step.after) for step in steps}
    ordered = list(_in_order(steps, graph, at, report))
    _check_reached(steps, ordered, at, report)
    return _before(steps, graph, ordered)


def _before(steps: Sequence[Step], graph: Mapping[str, Set[str]], ordered: Sequence[str]) -> Before:
    joins = {step.id: step.join for step in steps}
    before: dict[str, Set[str] | None] = dict.fromkeys(graph)
    for step_id in ordered:
        after = graph[step_id]
        # Of `n` steps that must have succeeded at least one is among any `all - n + 1` of them.
        enough = len(after) - (joins[step_id] or len(after)) + 1
        done = Counter(name for each in after for name in {each} | (before[each] or set()))
        surely = {name for name, count in done.items() if count >= enough}
        before[step_id] = surely | after
    return before


def _in_order(
    steps: Sequence[Step], graph: Mapping[str, Set[str]], at: Path, report: Report
) -> Iterator[str]:
    """Return the steps, those they wait for first; steps that wait for one another are left out."""
    rest = dict(graph)
    index = {step.id: number for number, step in enumerate(steps)}
    while True:
        try:
            return iter(tuple(TopologicalSorter(rest).static_order()))
        except CycleError as error:
            cycle: list[str] = error.args[1]
            first = min(cycle, key=index.__getitem__)
            start = cycle.index(first)
            turn = [*cycle[start:-1], *cycle[:start], first]
            problem = f"the steps follow one another in a circle: {' -> '.join(turn)}"
            report.value((*at, index[first], "after"), problem)
            rest = {step: before - set(cycle) for step, before in rest.items() if step not in cycle}


def _check_reached(steps: Sequence[Step], ordered: Sequence[str], at: Path, report: Report) -> None:
    """Report steps that follow one after which nothing runs."""
    places = {step.id: index for index, step in enumerate(steps)}
    last: dict[str, str] = {}
    for step_id in ordered:
        step = steps[places[step_id]]
        culprits = [last[before] for before in step.after if before in last]
        if culprits and step.join is None:
            problem = f"never runs: it follows `{culprits[0]}`, after which nothing goes on"
            report.value((*at, places[step_id], "id"), problem)
        elif _ends_all(step):
            last[step_id] = step_id


def _ends_all(step: Step) -> bool:
    if step.when:
        return False
    if isinstance(step.kind, FailStep):
        return step.on_error is OnError.FAIL and not step.catch
    return isinstance(step.kind, ReturnStep)
