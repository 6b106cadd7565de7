"""When schedules tick: at both changes of clocks in four zones, for any expression, in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_shared.calendar import Every, read_cron, zone_problem

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
LORD_HOWE, SAO_PAULO = "Australia/Lord_Howe", "America/Sao_Paulo"
ZONES = [BERLIN, NEW_YORK, LORD_HOWE, SAO_PAULO]
DAY = timedelta(days=1)


def ticks(expression: str, zone: str, after: str, count: int) -> list[str]:
    """The ticks after a local time, as local times with their offsets."""
    begin = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone))
    found = islice(read_cron(expression, zone).ticks(begin.astimezone(UTC)), count)
    return [
        tick.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes").replace("T", " ")
        for tick in found
    ]


@pytest.mark.parametrize(
    ("zone", "after", "expression", "expected"),
    [
        (
            BERLIN,
            "2026-03-28T12:00",
            "30 2 * * *",
            ["2026-03-29 03:00+02:00", "2026-03-30 02:30+02:00"],
        ),
        (
            NEW_YORK,
            "2026-03-07T12:00",
            "30 2 * * *",
            ["2026-03-08 03:00-04:00", "2026-03-09 02:30-04:00"],
        ),
        (
            LORD_HOWE,
            "2026-10-03T12:00",
            "15 2 * * *",
            ["2026-10-04 02:30+11:00", "2026-10-05 02:15+11:00"],
        ),
        (
            SAO_PAULO,
            "2026-10-17T12:00",
            "30 0 * * *",
            ["2026-10-18 00:30-03:00", "2026-10-19 00:30-03:00"],
        ),
    ],
)
def test_a_time_that_the_clocks_leave_out_ticks_once_after_the_gap(
    zone: str, after: str, expression: str, expected: list[str]
) -> None:
    assert ticks(expression, zone, after, 2) == expected


@pytest.mark.parametrize(
    ("zone", "after", "expression", "expected"),
    [
        (
            BERLIN,
            "2026-10-24T12:00",
            "30 2 * * *",
            ["2026-10-25 02:30+02:00", "2026-10-26 02:30+01:00"],
        ),
        (
            NEW_YORK,
            "2026-10-31T12:00",
            "30 1 * * *",
            ["2026-11-01 01:30-04:00", "2026-11-02 01:30-05:00"],
        ),
        (
            LORD_HOWE,
            "2026-04-04T12:00",
            "45 1 * * *",
            ["2026-04-05 01:45+11:00", "2026-04-06 01:45+10:30"],
        ),
        (
            SAO_PAULO,
            "2026-02-14T12:00",
            "30 23 * * *",
            ["2026-02-14 23:30-03:00", "2026-02-15 23:30-03:00"],
        ),
    ],
)
def test_a_time_that_comes_twice_ticks_the_first_time(
    zone: str, after: str, expression: str, expected: list[str]
) -> None:
    assert ticks(expression, zone, after, 2) == expected


def test_all_times_of_a_gap_tick_together_and_not_beside_the_end_of_the_gap() -> None:
    expected = ["2026-03-29 03:00+02:00", "2026-03-30 02:00+02:00", "2026-03-30 02:20+02:00"]
    assert ticks("*/20 2 * * *", BERLIN, "2026-03-28T12:00", 3) == expected
    assert ticks("0 2,3 * * *", BERLIN, "2026-03-28T12:00", 2) == expected[:2]


def test_what_begins_between_the_two_comings_of_a_time_waits_for_the_next_day() -> None:
    second = datetime(2026, 10, 25, 2, 10, tzinfo=ZoneInfo(BERLIN), fold=1).astimezone(UTC)
    tick = read_cron("30 2 * * *", BERLIN).after(second)
    assert tick == datetime(2026, 10, 26, 2, 30, tzinfo=ZoneInfo(BERLIN))


@pytest.mark.parametrize(
    ("expression", "day"),
    [
        ("0 0 L * *", "2026-01-31"),
        ("0 0 LW * *", "2026-01-30"),
        ("0 0 * * MON#2", "2026-02-09"),
        ("0 0 * * 5L", "2026-01-30"),
        ("0 0 * FEB 7", "2026-02-01"),
        # Either of two days, for neither field begins with a star; else both.
        ("0 0 17 * MON", "2026-01-17"),
        ("0 0 */13 * MON", "2026-04-27"),
    ],
)
def test_days_are_meant_as_cron_means_them(expression: str, day: str) -> None:
    assert ticks(expression, "UTC", "2026-01-15T12:00", 1) == [f"{day} 00:00+00:00"]


@pytest.mark.parametrize("zone", ZONES)
def test_every_hour_goes_by_elapsed_time(zone: str) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    found = list(islice(read_cron("*/30 * * * *", zone).ticks(begin), 2 * 24 * 366))
    assert {later - earlier for earlier, later in pairwise([begin, *found])} == {
        timedelta(minutes=30)
    }


@pytest.mark.parametrize("zone", ZONES)
def test_a_time_of_day_ticks_once_on_every_day(zone: str) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for expression in ("15 2 * * *", "45 1 * * *", "0 0 * * *"):
        days = [
            tick.astimezone(ZoneInfo(zone)).date()
            for tick in islice(read_cron(expression, zone).ticks(begin), 730)
        ]
        assert {later - earlier for earlier, later in pairwise(days)} == {DAY}


numbers = st.tuples(st.integers(0, 59), st.integers(0, 23), st.integers(1, 28))
minutes = st.sampled_from(["*", "*/7", "0", "30", "0,30", "10-20"])
hours = st.sampled_from(["*", "*/2", "1-3", "2", "0", "23", "1,2,3"])
days = st.sampled_from(["*", "1", "L", "LW", "*/5", "25-31"])
weekdays = st.sampled_from(["*", "0", "SUN", "MON-FRI", "7#1", "5L"])
moments = st.datetimes(
    datetime(2020, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    datetime(2038, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
anywhere = st.sampled_from([*ZONES, "Africa/Cairo", "Asia/Beirut", "Pacific/Apia", "UTC"])


@given(minutes, hours, days, weekdays, anywhere, moments)
def test_ticks_strictly_grow_and_none_is_lost(
    minute: str, hour: str, day: str, weekday: str, zone: str, after: datetime
) -> None:
    cron = read_cron(f"{minute} {hour} {day} * {weekday}", zone)
    found = list(islice(cron.ticks(after), 6))
    assert all(earlier < later for earlier, later in pairwise([after, *found]))
    # Whoever begins anew after a tick, or a moment before it, goes on with the same ones.
    for earlier, later in pairwise([after, *found]):
        assert cron.after(earlier) == later
        assert cron.after(later - timedelta(microseconds=1)) == later


@given(st.timedeltas(timedelta(seconds=1), timedelta(days=366)), moments, moments)
def test_intervals_strictly_grow_from_their_anchor(
    interval: timedelta, anchor: datetime, after: datetime
) -> None:
    every = Every(interval=interval, anchor=anchor)
    found = list(islice(every.ticks(after), 5))
    assert after < found[0] <= after + interval
    assert all((tick - anchor) % interval == timedelta(0) for tick in found)
    assert all(later - earlier == interval for earlier, later in pairwise(found))


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "has 0 fields and needs 5: minute, hour, day of month, month, day of week"),
        ("* * * * * *", "has 6 fields and needs 5"),
        ("@daily", "has 1 fields and needs 5"),
        ("61 * * * *", "at character 1: `61` is no minute: write *, 0 to 59"),
        ("0  25 * * *", "at character 4: `25` is no hour"),
        ("0 0 32 * *", "at character 5: `32` is no day of month"),
        ("0 0 * 13 *", "at character 7: `13` is no month"),
        ("0 0 * * FOO", "at character 9: `FOO` is no day of week"),
        ("5-1 * * * *", "at character 1: `5-1` is no minute"),
        ("*/0 * * * *", "at character 1: `*/0` is no minute"),
        ("0 0 30 2 *", "never ticks"),
    ],
)
def test_a_bad_expression_is_told_where(expression: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read_cron(expression, "UTC")
    assert str(refused.value).startswith(problem)


def test_a_zone_is_one_of_the_iana_database() -> None:
    assert zone_problem("Europe/Berlin") is None
    assert zone_problem("UTC") is None
    assert (zone_problem("Europe/Berln") or "").endswith("did you mean Europe/Berlin?")
    for name in ("", "localtime", "../../etc/passwd", "Europe", "CEST"):
        assert zone_problem(name) is not None
