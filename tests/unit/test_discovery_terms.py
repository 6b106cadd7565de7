"""The intervals that agents are told: longer for many, in the same proportions, and steady."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.domain.terms import Terms
from brikk_discovery.runtime.pace import Pace
from brikk_shared.testing import ManualClock

TERMS = Terms(
    heartbeat_interval=timedelta(seconds=10),
    suspect_after=timedelta(seconds=25),
    expire_after=timedelta(seconds=40),
    checkpoint_interval=timedelta(seconds=1),
)


def test_as_many_as_may_beat_stretch_nothing() -> None:
    assert TERMS.stretched(0, max_beats_per_second=1000) == TERMS
    assert TERMS.stretched(10_000, max_beats_per_second=1000) == TERMS


def test_all_that_agents_are_told_stretches_alike() -> None:
    assert TERMS.stretched(20_000, max_beats_per_second=1000) == replace(
        TERMS,
        heartbeat_interval=timedelta(seconds=20),
        suspect_after=timedelta(seconds=50),
        expire_after=timedelta(seconds=80),
    )


@given(agents=st.integers(0, 10**7), most=st.integers(1, 10**5))
def test_nobody_is_asked_to_beat_more_often_than_may_be(agents: int, most: int) -> None:
    stretched = TERMS.stretched(agents, max_beats_per_second=most)
    assert stretched.heartbeat_interval >= TERMS.heartbeat_interval
    assert agents / stretched.heartbeat_interval.total_seconds() <= most * 1.000001
    more = TERMS.stretched(agents + 1, max_beats_per_second=most)
    assert more.heartbeat_interval >= stretched.heartbeat_interval


def beat(pace: Pace, clock: ManualClock, agents: int, seconds: int) -> list[int]:
    """Let agents beat evenly, each as often as it is told; gives the interval at each second."""
    due = {number: number % 10 for number in range(agents)}
    intervals: list[int] = []
    for second in range(seconds):
        interval = int(pace.terms.heartbeat_interval.total_seconds())
        for number in due:
            if due[number] <= second:
                pace.heard(AgentKey("acme", str(number)))
                due[number] = second + interval
        pace.settle()
        intervals.append(int(pace.terms.heartbeat_interval.total_seconds()))
        clock.advance(timedelta(seconds=1))
    return intervals


def test_the_pace_settles_and_does_not_swing() -> None:
    clock = ManualClock()
    pace = Pace(TERMS, max_beats_per_second=10, clock=clock)
    intervals = beat(pace, clock, agents=400, seconds=120)
    assert intervals[0] == 10
    assert set(intervals[60:]) == {40}
    assert pace.terms.expire_after == timedelta(seconds=160)


def test_the_pace_comes_back_when_agents_leave() -> None:
    clock = ManualClock()
    pace = Pace(TERMS, max_beats_per_second=10, clock=clock)
    beat(pace, clock, agents=400, seconds=120)
    assert beat(pace, clock, agents=50, seconds=120)[-1] == 10
