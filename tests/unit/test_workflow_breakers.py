"""Breakers open where nobody is reached, try again ever later, and close at the first answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_shared.selection import Option
from brikk_shared.testing import ManualClock
from brikk_workflow.clients.breakers import FAILURES, FIRST, LONGEST, TRIAL, Breakers

A = Option(agent="agents/a", endpoint="a:1")
B = Option(agent="agents/b", endpoint="b:1")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breakers(clock: ManualClock) -> Breakers:
    return Breakers(clock)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def open_one(breakers: Breakers, option: Option = A) -> None:
    for _ in range(FAILURES):
        assert breakers.lets(option)
        breakers.missed(option)


def test_it_opens_when_nothing_was_reached_several_times_in_a_row(breakers: Breakers) -> None:
    for _ in range(FAILURES - 1):
        breakers.missed(A)
    breakers.reached(A)
    open_one(breakers)
    assert breakers.open == 1
    assert not breakers.lets(A)
    assert breakers.lets(B)


def test_one_call_is_on_trial_and_its_answer_closes_it(
    breakers: Breakers, clock: ManualClock
) -> None:
    open_one(breakers)
    clock.advance(seconds(FIRST))
    assert breakers.lets(A)
    breakers.sent(A)
    assert not breakers.lets(A)
    assert breakers.reached(A)
    assert breakers.lets(A)
    assert breakers.open == 0
    assert not breakers.reached(A), "it is told once that it is back"


def test_each_failed_trial_doubles_the_pause_up_to_a_minute(
    breakers: Breakers, clock: ManualClock
) -> None:
    open_one(breakers)
    for pause in (5, 10, 20, 40, 60, 60, 60):
        assert pause <= LONGEST
        clock.advance(seconds(pause - 1))
        assert not breakers.lets(A)
        clock.advance(seconds(1))
        assert breakers.lets(A)
        breakers.sent(A)
        breakers.missed(A)
        assert breakers.open == 1


def test_a_trial_that_never_ends_makes_way_for_another(
    breakers: Breakers, clock: ManualClock
) -> None:
    open_one(breakers)
    clock.advance(seconds(FIRST))
    breakers.sent(A)
    clock.advance(seconds(TRIAL))
    assert breakers.lets(A)


def test_calls_sent_before_it_opened_do_not_keep_it_open(
    breakers: Breakers, clock: ManualClock
) -> None:
    open_one(breakers)
    clock.advance(seconds(FIRST - 1))
    for _ in range(10):
        breakers.missed(A)
    clock.advance(seconds(1))
    assert breakers.lets(A)


def test_a_new_registration_begins_anew(breakers: Breakers) -> None:
    open_one(breakers)
    assert breakers.lets(replace(A, register_time=datetime(2026, 1, 1, tzinfo=UTC)))


def test_endpoints_that_nobody_calls_any_more_are_forgotten(
    breakers: Breakers, clock: ManualClock
) -> None:
    open_one(breakers)
    clock.advance(seconds(1000))
    breakers.missed(B)
    assert breakers.open == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["missed", "reached", "sent", "wait"]), st.sampled_from([A, B])),
        max_size=60,
    )
)
def test_it_always_counts_those_that_are_open(steps: list[tuple[str, Option]]) -> None:
    clock = ManualClock()
    breakers = Breakers(clock)
    for what, option in steps:
        if what == "missed":
            breakers.missed(option)
        elif what == "reached":
            breakers.reached(option)
            assert breakers.lets(option)
        elif what == "sent":
            breakers.sent(option)
        else:
            clock.advance(seconds(7))
        shut = sum(not breakers.lets(each) for each in (A, B))
        assert shut <= breakers.open <= 2
    clock.advance(seconds(LONGEST))
    assert breakers.lets(A) and breakers.lets(B)
