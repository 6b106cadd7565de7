"""Reads what rules ask for, of many rules at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from brikk_monitoring.domain.condition import Part, group_window, windows
from brikk_monitoring.domain.evaluation import Readings
from brikk_monitoring.domain.question import Place, combined, grouped
from brikk_monitoring.domain.rule import Definition
from brikk_monitoring.domain.series import group_name
from brikk_monitoring.domain.window import Retention
from brikk_monitoring.store.buckets import Buckets
from brikk_shared.errors import invalid_field


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a rule asks at `end`, which may lie in the past."""

    organization: str
    definition: Definition
    end: datetime
    now: datetime
    held: Retention
    """How long what it asks for is held."""


async def read(
    buckets: Buckets, asked: Sequence[Asked], *, most: int | None = None
) -> list[Readings]:
    """Answer in two round trips or so, however many ask.

    Args:
        most: buckets that may be added up at most, as often as they are asked for.

    Raises:
        InvalidArgument: it would be more.
        Unavailable: the store does not answer.
    """
    groups = await _groups(buckets, asked)
    wanted = [
        (each.organization, name, window)
        for each, series in zip(asked, groups, strict=True)
        for names in series.values()
        for window in windows(each.definition, each.end, each.now, each.held)
        for name in names
    ]
    if most is not None:
        size = sum(len(window.buckets) for _, _, window in wanted)
        if size > most:
            raise invalid_field(
                "start_time", f"would add up {size} buckets, {most} at most: ask for less time"
            )
    totals = iter(await buckets.totals(wanted))
    readings: list[Readings] = []
    for each, series in zip(asked, groups, strict=True):
        times = windows(each.definition, each.end, each.now, each.held)
        readings.append(
            {
                place: [
                    Part(
                        sums=combined([next(totals) for _ in names]),
                        length=min(window.end_time, each.end) - window.start_time,
                    )
                    for window in times
                ]
                for place, names in series.items()
            }
        )
    return readings


async def _groups(
    buckets: Buckets, asked: Sequence[Asked]
) -> Sequence[Mapping[Place, Sequence[str]]]:
    questions = [each.definition.inquiry.question(each.end) for each in asked]
    rankings = iter(
        await buckets.rankings(
            [
                (
                    each.organization,
                    group_name(question.metric, *question.group),
                    group_window(each.definition, each.end, each.now, each.held),
                )
                for each, question in zip(asked, questions, strict=True)
                if question.group
            ]
        )
    )
    return [
        grouped(question, next(rankings)) if question.group else {(): [question.metric]}
        for question in questions
    ]
