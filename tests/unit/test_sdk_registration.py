from __future__ import annotations

from datetime import timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from brikk_agent.registration import backoff
from brikk_agent.registry import beat_delay

RANDOM = st.integers().map(Random)


@given(st.floats(0.01, 3600).map(lambda seconds: timedelta(seconds=seconds)), RANDOM)
def test_beats_come_at_the_dictated_interval_and_at_most_a_tenth_later(
    dictated: timedelta, random: Random
) -> None:
    assert dictated <= beat_delay(dictated, random) <= dictated * 1.1 + timedelta(microseconds=1)


def test_an_interval_of_nothing_does_not_spin() -> None:
    assert beat_delay(timedelta(0), Random(1)) >= timedelta(milliseconds=10)


@given(st.integers(0, 100_000), RANDOM)
def test_backoff_is_bounded_at_any_number_of_failures(failures: int, random: Random) -> None:
    assert timedelta(0) <= backoff(failures, random) <= timedelta(seconds=10)


def test_backoff_spreads_over_the_whole_bound() -> None:
    random = Random(7)
    waits = [backoff(2, random) for _ in range(200)]
    assert min(waits) < timedelta(milliseconds=200)
    assert timedelta(milliseconds=1800) < max(waits) <= timedelta(seconds=2)
