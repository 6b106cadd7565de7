"""Windows cover what was asked for, and minutes are held as long as a window reaches them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_monitoring.domain.window import Window, minute_of, time_to_live

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
    assert minute(now) == window.minutes[-1]
    assert minute(window.start_time) == window.minutes[0]


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
    assert len(Window.ending_in(1000, length).minutes) == count


@given(moments, st.timedeltas(timedelta(0), timedelta(hours=4)))
def test_a_minute_is_held_exactly_while_the_longest_window_reaches_it(
    now: datetime, age: timedelta
) -> None:
    then = minute(now - age)
    reached = then in Window.ending_in(minute(now), RETENTION).minutes
    assert (time_to_live(then, RETENTION, now) > 0) == reached
