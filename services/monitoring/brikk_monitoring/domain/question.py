"""What may be asked of the counts: which series answer, over which buckets, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from brikk_monitoring.domain.measurement import Status, Sums, share
from brikk_monitoring.domain.series import Dimension, Metric, parse_series
from brikk_monitoring.domain.window import Resolution, Retention, Window
from brikk_shared.errors import invalid_field

MOST_POINTS: Final = 1500

Group = tuple[Dimension, ...]

Place = tuple[tuple[Dimension, str], ...]
"""The values by which a group differs from the others."""

_GROUPS: Final[Mapping[str, tuple[Group, ...]]] = {
    Metric.EXECUTIONS: ((Dimension.WORKFLOW,),),
    Metric.STEPS: ((Dimension.WORKFLOW,), (Dimension.WORKFLOW, Dimension.STEP)),
    Metric.CALLS: ((Dimension.AGENT,), (Dimension.CAPABILITY,)),
    Metric.AGENTS: (),
    Metric.DELIVERIES: (),
}


class Aggregation(StrEnum):
    """What is reckoned of observations; `brikk.monitoring.v1.Aggregation` describes each."""

    COUNT = "count"
    RATE = "rate"
    SUM = "sum"
    MEAN = "mean"
    P50 = "p50"
    P75 = "p75"
    P90 = "p90"
    P95 = "p95"
    P99 = "p99"
    P999 = "p999"
    SUCCESS_RATIO = "success_ratio"
    ATTEMPTS = "attempts"
    TOKENS = "tokens"
    COST_MICROS = "cost_micros"


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A range of time of a metric; cut into points if there is a `step`, told apart by dimensions.

    `top` is the number of groups at most, the busiest; with `compare` the time before counts, too.
    """

    metric: str
    start: datetime
    end: datetime
    step: timedelta | None = None
    group_by: Group = ()
    filters: Mapping[Dimension, str]
    top: int
    compare: bool = False

    @property
    def group(self) -> Group:
        """The dimensions of the series that answer it.

        Raises:
            InvalidArgument: the metric is not told apart by these.
        """
        wanted = {*self.group_by, *self.filters}
        if not wanted:
            return ()
        # What is recorded counts for the dimensions that were given, all together.
        recorded = tuple(each for each in Dimension if each in wanted)
        return _fitting(self.metric, _GROUPS.get(self.metric, (recorded,)), wanted)

    def wants(self, dimensions: Mapping[str, str]) -> bool:
        """Whether a series of the group passes the filters."""
        return all(dimensions[name] == value for name, value in self.filters.items())


def grouped(question: Question, ranking: Iterable[tuple[str, int]]) -> dict[Place, list[str]]:
    """Return the series of the busiest groups, out of those that counted and how much."""
    series: dict[Place, list[str]] = {}
    counts: dict[Place, int] = {}
    for name, count in ranking:
        dimensions = parse_series(name).dimensions
        if question.wants(dimensions):
            key = tuple((each, dimensions[each]) for each in question.group_by)
            series.setdefault(key, []).append(name)
            counts[key] = counts.get(key, 0) + count
    busiest = sorted(series, key=lambda key: (-counts[key], key))[: question.top]
    return {key: series[key] for key in busiest}


def _fitting(metric: str, groups: Iterable[Group], wanted: AbstractSet[Dimension]) -> Group:
    for group in groups:
        if wanted <= set(group):
            return group
    names = ", ".join(sorted(wanted))
    raise invalid_field("group_by", f"{metric} are not counted by {names}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """The buckets that a range consists of, and how many of them are a point."""

    window: Window
    buckets_per_point: int

    @staticmethod
    def of(
        start: datetime, end: datetime, step: timedelta | None, now: datetime, held: Retention
    ) -> Course:
        """Cover a range with the longest buckets that fit its step, or the shortest still held.

        Raises:
            InvalidArgument: the step is none that buckets add up to, or there are too many points.
        """
        if step is None:
            resolution = held.resolution_for(now - start, end - start)
            count = 1
        else:
            resolution = _fitting_step(step)
            count = step // timedelta(seconds=resolution.seconds)
        first = resolution.bucket_of(start) // count * count
        last = resolution.bucket_of(end - timedelta(microseconds=1))
        if step is not None and (last - first) // count >= MOST_POINTS:
            raise invalid_field("step", f"would make more than {MOST_POINTS} points")
        window = Window(first=first, last=last, resolution=resolution)
        return Course(window=window, buckets_per_point=count)

    def points(self, series: Sequence[Sequence[Sums]]) -> list[Sums]:
        """Add up the buckets of some series to points."""
        size, count = self.buckets_per_point, len(self.window.buckets)
        return [
            combined(sums for buckets in series for sums in buckets[at : at + size])
            for at in range(0, count, size)
        ]

    def moment(self, point: int) -> datetime:
        """When a point begins."""
        number = self.window.first + point * self.buckets_per_point
        return datetime.fromtimestamp(number * self.window.resolution.seconds, UTC)


def _fitting_step(step: timedelta) -> Resolution:
    for resolution in reversed(Resolution):
        if step and not step % timedelta(seconds=resolution.seconds):
            return resolution
    raise invalid_field("step", "must be whole minutes, hours or days")


def combined(parts: Iterable[Sums]) -> Sums:
    """Add up sums."""
    total = Sums()
    for part in parts:
        for mine, theirs in (
            (total.counts, part.counts),
            (total.errors, part.errors),
            (total.amounts, part.amounts),
        ):
            for name, number in theirs.items():
                mine[name] = mine.get(name, 0) + number
        for index, number in part.bins.items():
            total.bins[index] = total.bins.get(index, 0) + number
    return total


def ended(sums: Sums) -> int:
    """Return how many there were: of executions those that ended."""
    return sums.count - sums.of(Status.STARTED)


def success_ratio(sums: Sums) -> float:
    """Return the share that succeeded of what succeeded, failed or was cancelled."""
    succeeded = sums.of(Status.SUCCEEDED)
    return share(succeeded, succeeded + sums.of(Status.FAILED) + sums.of(Status.CANCELLED))


def per(sums: Sums, length: timedelta, unit: timedelta) -> float:
    """Return how many there were in a unit of time."""
    return ended(sums) / (length / unit) if length > timedelta(0) else 0.0


def aggregate(aggregation: Aggregation, sums: Sums, length: timedelta) -> float:
    """Reckon what was observed over a length of time; 0 where nothing was."""
    return _RECKONED[aggregation](sums, length)


def _quantile(per_mille: int) -> Callable[[Sums, timedelta], float]:
    return lambda sums, _: sums.quantile(per_mille)


_RECKONED: Final[Mapping[Aggregation, Callable[[Sums, timedelta], float]]] = {
    Aggregation.COUNT: lambda sums, _: ended(sums),
    Aggregation.RATE: lambda sums, length: per(sums, length, timedelta(seconds=1)),
    Aggregation.SUM: lambda sums, _: sums.total,
    Aggregation.MEAN: lambda sums, _: sums.total / sums.measured if sums.measured else 0.0,
    Aggregation.P50: _quantile(500),
    Aggregation.P75: _quantile(750),
    Aggregation.P90: _quantile(900),
    Aggregation.P95: _quantile(950),
    Aggregation.P99: _quantile(990),
    Aggregation.P999: _quantile(999),
    Aggregation.SUCCESS_RATIO: lambda sums, _: success_ratio(sums),
    Aggregation.ATTEMPTS: lambda sums, _: sums.attempts,
    Aggregation.TOKENS: lambda sums, _: sums.tokens,
    Aggregation.COST_MICROS: lambda sums, _: sums.cost_micros,
}
