"""Questions: the buckets that a range consists of, the series that answer, and what they say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from brikk_monitoring.domain.measurement import Measurement, Status, Sums
from brikk_monitoring.domain.question import (
    Aggregation,
    Course,
    Group,
    Question,
    aggregate,
    combined,
)
from brikk_monitoring.domain.series import Dimension, Metric
from brikk_monitoring.domain.window import Resolution, Retention
from brikk_shared.errors import InvalidArgument

NOW = datetime(2026, 3, 1, 12, 7, 30, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HELD = Retention(minute=3 * HOUR, hour=7 * DAY, day=400 * DAY)
WORKFLOW, STEP, AGENT, SERVICE = (
    Dimension.WORKFLOW,
    Dimension.STEP,
    Dimension.AGENT,
    Dimension.SERVICE,
)


def sums(*measurements: Measurement) -> Sums:
    bucket: dict[str, int] = {}
    for each in measurements:
        each.add_to(bucket)
    counted = Sums()
    counted.merge({name: str(number) for name, number in bucket.items()})
    return counted


def call(
    status: Status, value: float | None = None, *, tokens: int = 0, cost_micros: int = 0
) -> Measurement:
    return Measurement(
        series=("calls",), status=status, value=value, tokens=tokens, cost_micros=cost_micros
    )


@pytest.mark.parametrize(
    ("back", "resolution"),
    [(HOUR, Resolution.MINUTE), (2 * DAY, Resolution.HOUR), (30 * DAY, Resolution.DAY)],
)
def test_a_range_is_covered_by_the_shortest_buckets_that_are_held(
    back: timedelta, resolution: Resolution
) -> None:
    course = Course.of(NOW - back, NOW, None, NOW, HELD)
    assert course.window.resolution is resolution is HELD.resolution_for(back, back)
    assert course.moment(0) <= NOW - back < course.moment(1)
    assert course.window.end_time >= NOW


def test_a_policy_decides_which_buckets_reach_back() -> None:
    short = Retention(minute=HOUR, hour=DAY, day=30 * DAY)
    long = Retention(minute=DAY, hour=60 * DAY, day=400 * DAY)
    assert short.resolution_for(2 * HOUR, 2 * HOUR) is Resolution.HOUR
    assert short.resolution_for(2 * DAY, 2 * DAY) is Resolution.DAY
    assert short.resolution_for(90 * DAY, 90 * DAY) is Resolution.DAY
    # What is held longer is answered in detail, but not more of it than can be read.
    assert long.resolution_for(20 * HOUR, HOUR) is Resolution.MINUTE
    assert long.resolution_for(20 * HOUR, 20 * HOUR) is Resolution.HOUR
    assert Course.of(NOW - 2 * HOUR, NOW, None, NOW, short).window.resolution is Resolution.HOUR


@pytest.mark.parametrize(
    ("step", "resolution", "size"),
    [
        (5 * MINUTE, Resolution.MINUTE, 5),
        (2 * HOUR, Resolution.HOUR, 2),
        (90 * MINUTE, Resolution.MINUTE, 90),
        (7 * DAY, Resolution.DAY, 7),
    ],
)
def test_points_are_whole_steps_of_the_longest_buckets(
    step: timedelta, resolution: Resolution, size: int
) -> None:
    course = Course.of(NOW - 3 * step, NOW, step, NOW, HELD)
    assert (course.window.resolution, course.buckets_per_point) == (resolution, size)
    assert course.moment(0) <= NOW - 3 * step
    assert course.moment(1) - course.moment(0) == step
    # The points of two questions that are asked a moment apart are the same.
    assert not int(course.moment(0).timestamp()) % int(step.total_seconds())
    buckets = [[sums(call(Status.SUCCEEDED))] * len(course.window.buckets)] * 2
    points = course.points(buckets)
    assert sum(each.count for each in points) == 2 * len(course.window.buckets)
    assert [each.count for each in points[:-1]] == [2 * size] * (len(points) - 1)


@pytest.mark.parametrize("step", [timedelta(seconds=90), timedelta(seconds=30), timedelta(0)])
def test_a_step_is_made_of_buckets(step: timedelta) -> None:
    with pytest.raises(InvalidArgument, match="step"):
        Course.of(NOW - HOUR, NOW, step, NOW, HELD)


def test_there_are_not_too_many_points() -> None:
    assert Course.of(NOW - 1499 * MINUTE, NOW, MINUTE, NOW, HELD).points([]) is not None
    with pytest.raises(InvalidArgument, match="points"):
        Course.of(NOW - 1500 * MINUTE, NOW, MINUTE, NOW, HELD)


@pytest.mark.parametrize(
    ("metric", "group_by", "filters", "group"),
    [
        (Metric.STEPS, (), {}, ()),
        (Metric.STEPS, (WORKFLOW,), {}, (WORKFLOW,)),
        (Metric.STEPS, (STEP,), {}, (WORKFLOW, STEP)),
        (Metric.STEPS, (STEP,), {WORKFLOW: "triage"}, (WORKFLOW, STEP)),
        (Metric.CALLS, (), {AGENT: "reader"}, (AGENT,)),
        ("queue.wait_ms", (SERVICE,), {AGENT: "reader"}, (AGENT, SERVICE)),
    ],
)
def test_the_smallest_group_that_tells_apart_answers(
    metric: str, group_by: Group, filters: dict[Dimension, str], group: Group
) -> None:
    question = Question(
        metric=metric, start=NOW, end=NOW, group_by=group_by, filters=filters, top=1
    )
    assert question.group == group


def test_what_is_not_counted_cannot_be_told_apart() -> None:
    question = Question(
        metric=Metric.CALLS, start=NOW, end=NOW, group_by=(WORKFLOW,), filters={}, top=1
    )
    with pytest.raises(InvalidArgument, match="calls are not counted by workflow"):
        _ = question.group


def test_aggregations_say_what_they_are_called() -> None:
    counted = combined(
        [
            sums(call(Status.SUCCEEDED, 100, tokens=5, cost_micros=7)),
            sums(call(Status.SUCCEEDED, 200), call(Status.SUCCEEDED, 300)),
            sums(call(Status.FAILED, 1000), call(Status.STARTED)),
            sums(Measurement(series=("steps",), status=Status.RETRIED, attempts=3)),
        ]
    )
    reckoned = {each: aggregate(each, counted, timedelta(seconds=10)) for each in Aggregation}
    assert reckoned[Aggregation.COUNT] == 5
    assert reckoned[Aggregation.RATE] == 0.5
    assert reckoned[Aggregation.SUM] == 1600
    assert reckoned[Aggregation.MEAN] == 400
    assert reckoned[Aggregation.P50] == pytest.approx(200, rel=0.02)
    assert reckoned[Aggregation.P999] == pytest.approx(1000, rel=0.02)
    assert reckoned[Aggregation.SUCCESS_RATIO] == 0.75
    assert reckoned[Aggregation.ATTEMPTS] == 3
    assert (reckoned[Aggregation.TOKENS], reckoned[Aggregation.COST_MICROS]) == (5, 7)


def test_nothing_is_zero_of_everything() -> None:
    assert {aggregate(each, Sums(), timedelta(0)) for each in Aggregation} == {0}
