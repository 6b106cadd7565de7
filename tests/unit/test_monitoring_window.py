"""Windows cover what was asked for, and minutes are held as long as a window reaches them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_monitoring.domain.window import Resolution, Retention, Window, minute_of

RETENTION = timedelta(hours=3)

moments = st.builds(datetime.fromtimestamp, st.floats(1.6e9, 4.1e9), st.just(UTC))
lengths = st.timedeltas(timedelta(seconds=1), RETENTION)


def minute(moment: datetime) -> int:
    return minute_of(int(moment.timestamp()))


@given(moments, lengths)
def test_a_window_covers_its_length_and_under_two_minutes_more(
    now: datetime, length: timedelta
) -> None:
    window = Window.ending_in(minute(now), length)
    assert window.start_time <= now - length < window.start_time + timedelta(minutes=2)
    assert window.start_time.second == window.start_time.microsecond == 0
    assert minute(now) == window.buckets[-1]
    assert minute(window.start_time) == window.buckets[0]


@pytest.mark.parametrize(
    ("length", "count"),
    [
        (timedelta(seconds=1), 2),
        (timedelta(minutes=1), 2),
        (timedelta(seconds=61), 3),
        (timedelta(hours=3), 181),
    ],
)
def test_a_length_is_rounded_up_to_whole_minutes(length: timedelta, count: int) -> None:
    assert len(Window.ending_in(1000, length).buckets) == count


@pytest.mark.parametrize(
    ("resolution", "number"),
    [(Resolution.MINUTE, 29_530_080), (Resolution.HOUR, 492_168), (Resolution.DAY, 20_507)],
)
def test_a_moment_falls_into_one_bucket_of_each_length(resolution: Resolution, number: int) -> None:
    moment = datetime(2026, 2, 23, tzinfo=UTC)
    assert resolution.bucket_of(moment) == number
    window = Window.ending_in(number, timedelta(days=2), resolution)
    assert window.start_time == moment - timedelta(days=2)


def test_a_policy_says_how_many_buckets_it_holds() -> None:
    policy = Retention(
        minute=timedelta(minutes=90), hour=timedelta(days=1), day=timedelta(hours=30)
    )
    assert policy.buckets == 91 + 25 + 3
