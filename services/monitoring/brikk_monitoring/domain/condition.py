"""Whether the condition of a rule holds: which times to read, and what their sums say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from brikk_monitoring.domain.measurement import Status, Sums, share
from brikk_monitoring.domain.question import aggregate
from brikk_monitoring.domain.rule import Absence, BurnRate, Change, Definition, Inquiry, NoData
from brikk_monitoring.domain.window import Resolution, Retention, Window

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_BURNING: Final = (
    (_HOUR, 5 * _MINUTE, 14.4),
    (6 * _HOUR, 30 * _MINUTE, 6.0),
    (_DAY, 2 * _HOUR, 3.0),
    (3 * _DAY, 6 * _HOUR, 1.0),
)
"""Long and short windows, and how many times as fast as allowed the budget may burn in both.

The Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"."""
_LENGTHS: Final = tuple(sorted({length for *pair, _ in _BURNING for length in pair}))
_REMEMBERED: Final = _DAY
_CHEAP: Final = {
    Resolution.MINUTE: _HOUR,
    Resolution.HOUR: 2 * _DAY,
    Resolution.DAY: timedelta.max,
}
"""Up to which length a window is read in such buckets: rules read theirs again and again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What a group counted in one of the times."""

    sums: Sums
    length: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What an evaluation found of a group."""

    value: float
    holds: bool | None
    """None when nothing was observed and that is to change nothing."""


def windows(
    definition: Definition, end: datetime, now: datetime, held: Retention
) -> tuple[Window, ...]:
    """Say which times to read to know how it was at `end`, for `find` in this order."""
    length = definition.inquiry.window
    match definition.condition:
        case BurnRate():
            return tuple(_window(each, end, now, held) for each in _LENGTHS)
        case Change():
            # Whole buckets: one that is under way would always be less than one that has ended.
            window = _window(length, end, now, held)
            whole = Window(first=window.first, last=window.last - 1, resolution=window.resolution)
            return whole, whole.before
        case _:
            return (_window(length, end, now, held),)


def group_window(definition: Definition, end: datetime, now: datetime, held: Retention) -> Window:
    """Say in which time groups must have counted to be looked at."""
    match definition.condition:
        case Absence():
            return Window.ending_in(Resolution.HOUR.bucket_of(end), _REMEMBERED, Resolution.HOUR)
        case BurnRate():
            return _window(_LENGTHS[-1], end, now, held)
        case _:
            return windows(definition, end, now, held)[0]


def find(definition: Definition, parts: Sequence[Part], *, held: bool) -> Finding:
    """Judge what was read of a group; `held` tells whether the condition held the time before."""
    inquiry, condition = definition.inquiry, definition.condition
    first = parts[0]
    if isinstance(condition, Absence):
        return Finding(value=float(first.sums.count), holds=not first.sums.count)
    if isinstance(condition, BurnRate):
        if not parts[-1].sums.count:
            return unobserved(definition)
        return _burn(condition, [each.sums for each in parts])
    if not all(each.sums.count for each in parts):
        return unobserved(definition)
    value = _reckon(inquiry, first)
    if isinstance(condition, Change):
        before = _reckon(inquiry, parts[1])
        if not before:
            return unobserved(definition)
        ratio = (value - before) / abs(before)
        return Finding(value=ratio, holds=condition.side.beyond(ratio, condition.ratio))
    bound = condition.value
    if held and condition.recovery is not None:
        bound = condition.recovery
    return Finding(value=value, holds=condition.side.beyond(value, bound))


def unobserved(definition: Definition) -> Finding:
    """Say what it means when nothing was observed."""
    match definition.no_data:
        case NoData.OK:
            return Finding(value=0.0, holds=False)
        case NoData.ALERT:
            return Finding(value=0.0, holds=True)
        case NoData.KEEP:
            return Finding(value=0.0, holds=None)


def _window(length: timedelta, end: datetime, now: datetime, held: Retention) -> Window:
    back = now - end + length
    reaching = held.resolution_for(back, back)
    cheap = next(each for each in Resolution if length <= _CHEAP[each])
    resolution = max(reaching, cheap, key=lambda each: each.seconds)
    return Window.ending_in(resolution.bucket_of(end), length, resolution)


def _reckon(inquiry: Inquiry, part: Part) -> float:
    if inquiry.error_reason == "*":
        return float(part.sums.of(Status.FAILED))
    if inquiry.error_reason:
        return float(part.sums.errors.get(inquiry.error_reason, 0))
    return aggregate(inquiry.aggregation, part.sums, part.length)


def _burn(condition: BurnRate, sums: Sequence[Sums]) -> Finding:
    budget = 1 - condition.objective
    rates = {length: _failing(each) / budget for length, each in zip(_LENGTHS, sums, strict=True)}
    slower = {factor: min(rates[long], rates[short]) for long, short, factor in _BURNING}
    burning = [rate for factor, rate in slower.items() if rate > factor]
    return Finding(value=max(burning or slower.values()), holds=bool(burning))


def _failing(sums: Sums) -> float:
    failed = sums.of(Status.FAILED)
    return share(failed, failed + sums.of(Status.SUCCEEDED))
