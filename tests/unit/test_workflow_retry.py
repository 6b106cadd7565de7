"""When a failed attempt is repeated, and after which wait; durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_shared.errors import Reason
from brikk_workflow.domain.definition import RetryPolicy
from brikk_workflow.domain.duration import format_duration, parse_duration
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.retry import backoff, may_retry


def milliseconds(policy: RetryPolicy, fraction: float = 0.5) -> list[float]:
    waits = [backoff(policy, attempt, fraction) for attempt in (1, 2, 3, 4, 20)]
    return [wait / timedelta(milliseconds=1) for wait in waits]


def test_the_wait_doubles_up_to_its_maximum() -> None:
    assert milliseconds(RetryPolicy()) == [200, 400, 800, 1600, 30_000]
    assert milliseconds(RetryPolicy(multiplier=1)) == [200] * 5
    assert milliseconds(RetryPolicy(initial=timedelta())) == [0] * 5
    assert milliseconds(RetryPolicy(max=timedelta(milliseconds=500))) == [200, 400, 500, 500, 500]


def test_the_jitter_spreads_both_ways() -> None:
    policy = RetryPolicy(jitter=0.5, multiplier=1)
    assert milliseconds(policy, 0.0)[0] == 100
    assert milliseconds(policy, 0.999999)[0] == pytest.approx(300, abs=0.01)
    assert milliseconds(RetryPolicy(jitter=0, multiplier=1), 0.9)[0] == 200


@given(
    attempt=st.integers(1, 10_000),
    multiplier=st.floats(1, 100),
    fraction=st.floats(0, 1, exclude_max=True),
    initial=st.timedeltas(timedelta(), timedelta(days=1)),
    jitter=st.floats(0, 1),
)
def test_no_attempt_overflows(
    attempt: int, multiplier: float, fraction: float, initial: timedelta, jitter: float
) -> None:
    policy = RetryPolicy(
        multiplier=multiplier, initial=initial, jitter=jitter, max=timedelta(days=7)
    )
    assert timedelta() <= backoff(policy, attempt, fraction) <= timedelta(days=14)


@pytest.mark.parametrize(
    ("code", "retryable", "metadata", "expected"),
    [
        ("UNAVAILABLE", None, {}, True),
        ("INTERNAL", None, {}, True),
        ("DEADLINE_EXCEEDED", None, {}, True),
        ("INVALID_ARGUMENT", None, {}, False),
        ("INVALID_ARGUMENT", True, {}, True),
        ("UNAVAILABLE", False, {}, False),
        ("ABORTED", True, {}, False),
        ("UNAVAILABLE", True, {"agent_reason": "QUOTA_EXCEEDED"}, False),
        ("UNAVAILABLE", True, {"agent_reason": "WARMING_UP"}, True),
    ],
)
def test_who_decides(
    code: str, retryable: bool | None, metadata: dict[str, str], expected: bool
) -> None:
    policy = RetryPolicy(non_retryable=("ABORTED", "QUOTA_EXCEEDED"))
    failure = Failure(
        code=code,
        reason=Reason.AGENT_FAILED,
        message="",
        metadata=metadata,
        retryable=retryable,
    )
    assert may_retry(failure, policy) is expected


def test_a_reason_of_brikk_can_be_excluded() -> None:
    failure = Failure(code="DEADLINE_EXCEEDED", reason=Reason.STEP_TIMEOUT, message="")
    assert not may_retry(failure, RetryPolicy(non_retryable=("STEP_TIMEOUT",)))


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("200ms", timedelta(milliseconds=200)),
        ("5s", timedelta(seconds=5)),
        ("1.5s", timedelta(seconds=1.5)),
        ("1h30m", timedelta(hours=1.5)),
        ("1d2h3m4s5ms", timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=5)),
        ("0s", timedelta()),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "5 s", "5S", "1m1h", "-5s", "1.5h", "5s5s", "1e3s", "999999999d99h"],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(0, 10**12))
def test_durations_are_read_as_they_are_written(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration
