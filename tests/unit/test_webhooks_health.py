"""Endpoints that fail are spared, tried one at a time, and at last given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from brikk_webhooks.domain.bounds import Bounds
from brikk_webhooks.domain.delivery import Answer, Outcome, Verdict, judge
from brikk_webhooks.domain.health import LONGEST_PAUSE, MOST_FAILURES, Health

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DELIVERED = Verdict(outcome=Outcome.DELIVERED)
RETRY = Verdict(outcome=Outcome.RETRY)
FAILED = Verdict(outcome=Outcome.FAILED)


def verdict(status: int, retry_after: str | None = None) -> Verdict:
    answer = Answer(status=status, retry_after=retry_after)
    return judge(answer, attempt=1, schedule=[5 * SECOND], now=NOW, chance=0.5)


def after(*verdicts: Verdict, health: Health | None = None, probe: bool = False) -> Health:
    health = health or Health()
    for each in verdicts:
        health = health.after(each, probe=probe, now=NOW)
    return health


def room(health: Health, at: datetime) -> int | None:
    bounds = Bounds(max_rate=0, max_in_flight=0, paced_until=None, paused_until=health.paused_until)
    return bounds.room(at)


def test_a_few_failures_change_nothing() -> None:
    health = after(*[RETRY] * (MOST_FAILURES - 1))
    assert room(health, NOW) is None
    assert not health.failing
    assert after(DELIVERED, health=health) == Health()


def test_many_in_a_row_open_the_breaker_until_a_probe_succeeds() -> None:
    health = after(*[RETRY] * MOST_FAILURES)
    assert health.failing
    assert room(health, NOW) == 0
    assert room(health, NOW + SECOND) == 1
    # What was under way meanwhile prolongs nothing.
    assert after(*[RETRY] * 22, health=health).paused_until == health.paused_until
    again = after(RETRY, health=health, probe=True)
    assert room(again, NOW + SECOND) == 0
    assert room(again, NOW + 2 * SECOND) == 1
    assert room(after(DELIVERED, health=again, probe=True), NOW) is None


def test_pauses_grow_up_to_five_minutes() -> None:
    health = after(*[RETRY] * MOST_FAILURES)
    pauses = []
    for _ in range(60):
        health = after(RETRY, health=health, probe=True)
        assert health.paused_until is not None
        pauses.append(health.paused_until - NOW)
    assert pauses[:3] == [2 * SECOND, 4 * SECOND, 8 * SECOND]
    assert max(pauses) == pauses[-1] == LONGEST_PAUSE


@pytest.mark.parametrize("status", [429, 502, 504])
def test_a_strained_endpoint_is_spared_at_once(status: int) -> None:
    assert after(verdict(status)).paused_until == NOW + SECOND
    assert after(verdict(status, "30")).paused_until == NOW + 30 * SECOND
    assert after(verdict(status, "86400")).paused_until == NOW + LONGEST_PAUSE


@pytest.mark.parametrize("status", [302, 404, 500, 503])
def test_other_answers_are_of_their_delivery_alone(status: int) -> None:
    assert after(verdict(status, "30")).paused_until is None


def test_a_delivery_that_is_given_up_counts_as_failing() -> None:
    assert after(FAILED).failing


def test_five_days_of_failures_are_enough_but_not_of_silence() -> None:
    days = timedelta(days=5)
    health = after(RETRY)
    assert not health.hopeless(patience=days)
    later = health.after(RETRY, probe=False, now=NOW + days - SECOND)
    assert not later.hopeless(patience=days)
    assert later.after(RETRY, probe=False, now=NOW + days).hopeless(patience=days)
    # Who changes the webhook gives it as much time again.
    changed = later.since(NOW + days - 2 * SECOND).after(RETRY, probe=False, now=NOW + days)
    assert not changed.hopeless(patience=days)
    assert later.since(NOW + days) == Health()


def test_gone_is_given_up_and_left_alone() -> None:
    health = after(verdict(410))
    assert health.hopeless(patience=timedelta(days=5))
    assert room(health, NOW) == 0
