"""Answers to questions: the series that they are about are looked up, read and added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from brikk_monitoring.domain.measurement import Sums
from brikk_monitoring.domain.question import Course, Place, Question, combined, grouped
from brikk_monitoring.domain.series import group_name
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.policies import Policies
from brikk_shared.errors import invalid_field

MOST_BUCKETS: Final = 20_000
"""Read for one call: others wait meanwhile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a group counted: in all and, if asked, in as long a time before, and point by point."""

    dimensions: Place
    total: Sums
    previous: Sums | None
    points: Sequence[Sums]


class Analysis:
    """Works out answers for organisations."""

    def __init__(self, buckets: Buckets, policies: Policies) -> None:
        self._buckets = buckets
        self._policies = policies

    async def answer(
        self, organization: str, question: Question, now: datetime
    ) -> tuple[Course, list[Found]]:
        """Answer a question, the busiest groups first.

        Raises:
            InvalidArgument: the metric has no such groups, or it is too much at once.
            Unavailable: the store does not answer.
        """
        [held] = await self._policies.held([(organization, question.metric)])
        course = Course.of(question.start, question.end, question.step, now, held)
        groups = await self._groups(organization, question, course)
        names = [name for series in groups.values() for name in series]
        _check_size(len(names), course, compare=question.compare)
        buckets: Mapping[str, Sequence[Sums]] = {}
        if question.step is None:
            totals = await self._buckets.sums(organization, names, course.window)
        else:
            buckets = await self._buckets.courses(organization, names, course.window)
            totals = {name: combined(parts) for name, parts in buckets.items()}
        before: Mapping[str, Sums] = {}
        if question.compare:
            before = await self._buckets.sums(organization, names, course.window.before)
        found = [
            Found(
                dimensions=dimensions,
                total=combined(totals[name] for name in series),
                previous=combined(before[name] for name in series) if question.compare else None,
                points=course.points([buckets[name] for name in series]) if buckets else (),
            )
            for dimensions, series in groups.items()
        ]
        return course, found

    async def _groups(
        self, organization: str, question: Question, course: Course
    ) -> dict[Place, list[str]]:
        """Find the series of the busiest groups."""
        group = question.group
        if not group:
            return {(): [question.metric]}
        ranking = await self._buckets.ranking(
            organization, group_name(question.metric, *group), course.window
        )
        return grouped(question, ranking)


def _check_size(series: int, course: Course, *, compare: bool) -> None:
    buckets = series * len(course.window.buckets) * (2 if compare else 1)
    if buckets > MOST_BUCKETS:
        raise invalid_field(
            "top",
            f"would read {buckets} buckets, {MOST_BUCKETS} at most: ask for fewer groups, a longer"
            " step or a shorter range",
        )
