"""No minute holds more requests than a webhook allows, and none is wasted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_webhooks.domain.pace import allowed, paced, ready_at

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@given(
    rate=st.one_of(st.integers(1, 200), st.integers(1, 1_000_000)),
    waits=st.lists(st.integers(0, 70_000_000), max_size=60),
    wishes=st.lists(st.integers(1, 30), min_size=1, max_size=5),
)
def test_no_minute_holds_more_than_its_rate(rate: int, waits: list[int], wishes: list[int]) -> None:
    now, until = NOW, None
    taken: list[tuple[datetime, int]] = []
    for number, wait in enumerate([0, *waits]):
        now += timedelta(microseconds=wait)
        count = min(allowed(until, now, rate=rate), wishes[number % len(wishes)])
        if count:
            until = paced(until, now, rate=rate, taken=count)
            taken.append((now, count))
    for begin, _ in taken:
        assert sum(count for at, count in taken if begin <= at < begin + MINUTE) <= rate


@pytest.mark.parametrize(("rate", "at_once"), [(1, 1), (59, 1), (60, 1), (600, 10)])
def test_a_second_of_requests_may_go_at_once_and_the_next_when_it_is_time(
    rate: int, at_once: int
) -> None:
    assert allowed(None, NOW, rate=rate) == at_once
    until = paced(None, NOW, rate=rate, taken=at_once)
    assert allowed(until, NOW, rate=rate) == 0
    ready = ready_at(until, rate=rate)
    assert allowed(until, ready - timedelta(microseconds=1), rate=rate) == 0
    assert allowed(until, ready, rate=rate) == 1
    assert ready - NOW <= MINUTE / max(1, rate - at_once)


def test_a_rest_earns_no_more_than_a_second() -> None:
    until = paced(None, NOW, rate=600, taken=10)
    assert allowed(until, NOW + timedelta(hours=1), rate=600) == 10
