"""Who gets the places that are free: the rules of limits, priority and turns. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

HIGHEST = 9
"""The priority that is served first; 0 is served last."""
_BLOCK = 4
"""A permit is at most this part of what is free, so that as many replicas find some at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """An execution without a place; those with a smaller `rank`, then id, come before it.

    `concurrency` is how many of its workflow may run at once, itself included; None for any number.
    """

    execution_id: str
    workflow_id: str
    rank: int
    concurrency: int | None


def rank(priority: int) -> int:
    """Return the place of a priority in the queue: the smallest comes first."""
    return HIGHEST - priority


def admitted(
    waiting: Iterable[Waiting], running: Mapping[str, int], places: int
) -> tuple[str, ...]:
    """Return who begins: by priority, then age, as far as places and their workflows allow.

    One that its workflow holds back keeps nobody of another workflow waiting. `running` counts
    the executions that hold a place, by workflow.
    """
    beside = dict(running)
    taken: list[str] = []
    for each in sorted(waiting, key=lambda each: (each.rank, each.execution_id)):
        if len(taken) >= places:
            break
        others = beside.get(each.workflow_id, 0)
        if each.concurrency is None or others < each.concurrency:
            beside[each.workflow_id] = others + 1
            taken.append(each.execution_id)
    return tuple(taken)


def permit(free: int, wanted: int) -> int:
    """Return how many of an organisation's free places a replica may give away without asking."""
    return max(0, min(free, max(wanted, free // _BLOCK)))


def turns(organizations: Sequence[str], room: int, after: str) -> Iterator[tuple[str, int]]:
    """Share out room: each organisation in turn, beginning with the one that follows `after`.

    Each gets the same, at least one; the rest of the room goes to whoever comes next time.
    """
    ordered = sorted(organizations)
    first = sum(each <= after for each in ordered)
    share = max(1, room // max(1, len(ordered)))
    for each in [*ordered[first:], *ordered[:first]][:room]:
        yield each, share
