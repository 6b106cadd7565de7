"""Breakers open where nobody is reached, try again ever later, and close at the first answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_shared.testing import ManualClock
from brikk_workflow.clients.breakers import FAILURES, FIRST, LONGEST, TRIAL, Breakers


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breakers(clock: ManualClock) -> Breakers:
    return Breakers(clock)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def open_one(breakers: Breakers, endpoint: str = "a:1") -> None:
    for _ in range(FAILURES):
        assert breakers.lets(endpoint)
        breakers.missed(endpoint)


def test_it_opens_when_nothing_was_reached_several_times_in_a_row(breakers: Breakers) -> None:
    for _ in range(FAILURES - 1):
        breakers.missed("a:1")
    breakers.reached("a:1")
    open_one(breakers)
    assert breakers.open == 1
    assert not breakers.lets("a:1")
    assert breakers.lets("b:1")


def test_one_call_is_on_trial_and_its_answer_closes_it(
    breakers: Breakers, clock: ManualClock
) -> None:
    open_one(breakers)
    clock.advance(seconds(FIRST))
    assert breakers.lets("a:1")
    breakers.sent("a:1")
    assert not breakers.lets("a:1")
    assert breakers.reached("a:1")
    assert breakers.lets("a:1")
    assert breakers.open == 0
    assert not breakers.reached("a:1"), "it is told once that it is back"


def test_each_failed_trial_doubles_the_pause_up_to_a_minute(
    breakers: Breakers, clock: ManualClock
) -> None:
    open_one(breakers)
    for pause in (5, 10, 20, 40, 60, 60, 60):
        assert pause <= LONGEST
        clock.advance(seconds(pause - 1))
        assert not breakers.lets("a:1")
        clock.advance(seconds(1))
        assert breakers.lets("a:1")
        breakers.sent("a:1")
        breakers.missed("a:1")
        assert breakers.open == 1


def test_a_trial_that_never_ends_makes_way_for_another(
    breakers: Breakers, clock: ManualClock
) -> None:
    open_one(breakers)
    clock.advance(seconds(FIRST))
    breakers.sent("a:1")
    clock.advance(seconds(TRIAL))
    assert breakers.lets("a:1")


def test_calls_sent_before_it_opened_do_not_keep_it_open(
    breakers: Breakers, clock: ManualClock
) -> None:
    open_one(breakers)
    clock.advance(seconds(FIRST - 1))
    for _ in range(10):
        breakers.missed("a:1")
    clock.advance(seconds(1))
    assert breakers.lets("a:1")


def test_endpoints_that_nobody_calls_any_more_are_forgotten(
    breakers: Breakers, clock: ManualClock
) -> None:
    open_one(breakers)
    clock.advance(seconds(1000))
    breakers.missed("b:1")
    assert breakers.open == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["missed", "reached", "sent", "wait"]), st.sampled_from("ab")),
        max_size=60,
    )
)
def test_it_always_counts_those_that_are_open(steps: list[tuple[str, str]]) -> None:
    clock = ManualClock()
    breakers = Breakers(clock)
    for what, endpoint in steps:
        if what == "missed":
            breakers.missed(endpoint)
        elif what == "reached":
            breakers.reached(endpoint)
            assert breakers.lets(endpoint)
        elif what == "sent":
            breakers.sent(endpoint)
        else:
            clock.advance(seconds(7))
        shut = sum(not breakers.lets(each) for each in "ab")
        assert shut <= breakers.open <= 2
    clock.advance(seconds(LONGEST))
    assert breakers.lets("a") and breakers.lets("b")
