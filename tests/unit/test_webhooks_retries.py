"""What an answer means: delivered, tried again after how long, or given up."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_webhooks.domain.delivery import Answer, Outcome, Verdict, judge, parse_retry_after

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SCHEDULE = [timedelta(seconds=5), timedelta(minutes=5)]


def verdict(answer: Answer, *, attempt: int = 1, chance: float = 0.5) -> Verdict:
    return judge(answer, attempt=attempt, schedule=SCHEDULE, now=NOW, chance=chance)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    assert verdict(Answer(status=status)) == Verdict(outcome=Outcome.DELIVERED)


@pytest.mark.parametrize("status", [199, 301, 302, 307, 400, 404, 429, 500, 502, 504])
def test_anything_else_is_tried_again(status: int) -> None:
    result = verdict(Answer(status=status))
    assert result.outcome is Outcome.RETRY
    assert result.error == f"answered {status}"


def test_no_answer_is_tried_again_with_its_error() -> None:
    result = verdict(Answer(error="no connection"))
    assert (result.outcome, result.error) == (Outcome.RETRY, "no connection")


def test_the_schedule_is_followed_and_then_used_up() -> None:
    waits = [verdict(Answer(status=500), attempt=attempt) for attempt in (1, 2, 3)]
    assert [wait.outcome for wait in waits] == [Outcome.RETRY, Outcome.RETRY, Outcome.FAILED]
    assert [wait.delay for wait in waits[:2]] == SCHEDULE


@given(chance=st.floats(0, 1))
def test_waits_are_spread_by_20_percent_at_most(chance: float) -> None:
    delay = verdict(Answer(status=500), chance=chance).delay
    assert timedelta(seconds=4) <= delay <= timedelta(seconds=6)
    assert verdict(Answer(status=500), chance=0).delay == timedelta(seconds=4)
    assert verdict(Answer(status=500), chance=1).delay == timedelta(seconds=6)


def test_what_fails_together_does_not_come_back_together() -> None:
    waits = [verdict(Answer(status=503), chance=number / 10_000).delay for number in range(10_000)]
    per_tenth = Counter(wait // timedelta(milliseconds=100) for wait in waits)
    assert max(per_tenth.values()) <= 501


@pytest.mark.parametrize(
    "answer", [Answer(status=410), Answer(error="the URL cannot be used", final=True)]
)
def test_some_answers_are_final(answer: Answer) -> None:
    assert verdict(answer).outcome is Outcome.FAILED


@pytest.mark.parametrize("attempt", [1, 2])
def test_the_endpoint_may_say_when_to_come_back(attempt: int) -> None:
    answer = Answer(status=503, retry_after="120")
    for chance in (0.0, 1.0):
        assert verdict(answer, attempt=attempt, chance=chance).delay == timedelta(seconds=120)


def test_retry_after_adds_no_attempt() -> None:
    assert verdict(Answer(status=503, retry_after="1"), attempt=3).outcome is Outcome.FAILED


DAY = timedelta(hours=24)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("0", timedelta()),
        ("120", timedelta(seconds=120)),
        (" 120 ", timedelta(seconds=120)),
        ("0000000120", timedelta(seconds=120)),
        ("86400", DAY),
        ("86401", DAY),
        ("1000000000", DAY),
        ("9" * 5000, DAY),
        ("Thu, 01 Jan 2026 12:02:00 GMT", timedelta(seconds=120)),
        ("Thursday, 01-Jan-26 12:02:00 GMT", timedelta(seconds=120)),
        ("Thu Jan  1 12:02:00 2026", timedelta(seconds=120)),
        ("Thu, 01 Jan 2026 14:02:00 +0200", timedelta(seconds=120)),
        ("Thu, 01 Jan 2026 11:00:00 GMT", timedelta()),
        ("Sat, 01 Jan 2028 00:00:00 GMT", DAY),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("Thu, 99 Jan 2026 12:02:00 GMT", None),
        ("Thu, 01 Jan 99999999999999999999 12:02:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, expected: timedelta | None) -> None:
    assert parse_retry_after(value, NOW) == expected


@given(value=st.text())
def test_no_retry_after_breaks_anything(value: str) -> None:
    result = parse_retry_after(value, NOW)
    assert result is None or timedelta() <= result <= DAY
