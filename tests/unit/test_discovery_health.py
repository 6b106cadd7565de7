"""Whether an agent answers is not decided by one probe; coming and going is held against it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from brikk_discovery.domain.agent import Doubt
from brikk_discovery.domain.health import (
    Health,
    Verdict,
    doubt_of,
    flaps,
    forgiven_before,
    penalised,
)
from brikk_discovery.domain.memory import NOTHING, Memory

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def probed(results: str, health: Health | None = None) -> Health:
    """What a row of results shows: + an answer, - a failure."""
    health = health or Health()
    for result in results:
        health = health.after(answered=result == "+")
    return health


def test_three_failures_are_down_and_two_answers_up() -> None:
    assert probed("--").verdict is Verdict.UNKNOWN
    assert probed("---").verdict is Verdict.DOWN
    assert probed("---+").verdict is Verdict.DOWN
    assert probed("---++").verdict is Verdict.UP
    assert probed("---++--").verdict is Verdict.UP
    assert probed("---++--+--").verdict is Verdict.UP
    assert probed("---++---").verdict is Verdict.DOWN


def test_one_answer_is_enough_of_whom_nothing_bad_is_known() -> None:
    assert Health().open
    assert not probed("+").open
    assert probed("-").open
    assert not probed("-+").open
    assert probed("---+").open
    assert not probed("---++").open


@given(st.text("+-", max_size=40))
def test_a_verdict_falls_only_after_its_row(results: str) -> None:
    for at in range(1, len(results) + 1):
        before, after = probed(results[: at - 1]), probed(results[:at])
        if before.verdict is not after.verdict:
            row = results[:at]
            assert row.endswith("---") if after.verdict is Verdict.DOWN else row.endswith("++")


def test_silence_weighs_more_than_no_answer_and_that_more_than_flapping() -> None:
    assert doubt_of(silent=True, verdict=Verdict.DOWN, flapping=True) is Doubt.SILENT
    assert doubt_of(silent=False, verdict=Verdict.DOWN, flapping=True) is Doubt.UNREACHABLE
    assert doubt_of(silent=False, verdict=Verdict.UP, flapping=True) is Doubt.FLAPPING
    assert doubt_of(silent=False, verdict=Verdict.UNKNOWN, flapping=False) is Doubt.NONE


def falls(count: int, every: timedelta) -> tuple[Memory, datetime]:
    """What is remembered of an agent that went down so often, and when it last did."""
    memory, now = NOTHING, NOW
    for _ in range(count):
        now += every
        memory = penalised(memory, now)
    return memory, now


def test_who_falls_often_is_suspect_until_it_stayed() -> None:
    memory, now = falls(3, 10 * SECOND)
    assert not flaps(memory, now, already=False)
    memory, now = falls(4, 10 * SECOND)
    assert flaps(memory, now, already=False)
    assert not flaps(memory, now + 30 * SECOND, already=False)
    assert flaps(memory, now + 90 * SECOND, already=True)
    assert not flaps(memory, now + 120 * SECOND, already=True)


def test_who_falls_seldom_is_not() -> None:
    memory, now = falls(100, 120 * SECOND)
    assert not flaps(memory, now, already=False)


@given(st.lists(st.integers(0, 600), max_size=60))
def test_the_worst_is_forgiven(gaps: list[int]) -> None:
    memory, now = NOTHING, NOW
    for gap in gaps:
        now += gap * SECOND
        memory = penalised(memory, now)
    assert not flaps(memory, now + 160 * SECOND, already=True)
    later = now + timedelta(minutes=5)
    assert forgiven_before(later) == now


def test_a_clock_that_was_set_back_makes_nothing_worse() -> None:
    memory, now = falls(2, SECOND)
    assert not flaps(memory, now - timedelta(hours=1), already=False)
