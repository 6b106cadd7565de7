"""What a delivery goes through: its states, its attempts, and what an answer means for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import IntEnum, StrEnum

LONGEST_RETRY_AFTER = timedelta(hours=24)
JITTER = 0.2

_GONE = 410
_STRAINED = (429, 502, 504)


class DeliveryState(IntEnum):
    """Where a delivery stands; the numbers are those that are stored."""

    PENDING = 1
    DELIVERED = 2
    FAILED = 3
    CANCELLED = 4


class Outcome(StrEnum):
    """What an attempt came to."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One event on its way to one webhook, as people see it."""

    id: str
    event_id: str
    event_type: str
    subject: str
    state: DeliveryState
    attempts: int
    response_status: int
    create_time: datetime
    next_attempt_time: datetime | None
    end_time: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One HTTP request of a delivery."""

    number: int
    start_time: datetime
    latency: timedelta
    response_status: int
    """0 when there was no answer."""
    error: str
    """Empty when the endpoint answered 2xx."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of a request: a status, or an error when there was none."""

    status: int = 0
    retry_after: str | None = None
    error: str = ""
    final: bool = False
    """No later request can fare better: the endpoint or its secret cannot be used."""

    @property
    def accepted(self) -> bool:
        """Whether the endpoint has taken the delivery."""
        return 200 <= self.status < 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What an answer means for its delivery; `delay` until the next attempt when there is one."""

    outcome: Outcome
    error: str = ""
    delay: timedelta = timedelta()
    gone: bool = False
    """The endpoint wants nothing any more."""
    strain: timedelta | None = None
    """For how long, at least, the endpoint wants to be spared; None when it said nothing of it."""


def judge(
    answer: Answer, *, attempt: int, schedule: Sequence[timedelta], now: datetime, chance: float
) -> Verdict:
    """Decide what follows the attempt with this number, counted from 1.

    Delivered is 2xx only: a redirect is a failure. 410 and a used-up schedule are final. Otherwise
    the wait is the one the endpoint asked for, up to 24 h, or the schedule's, spread by 20 % either
    way with `chance` between 0 and 1.
    """
    if answer.accepted:
        return Verdict(outcome=Outcome.DELIVERED)
    error = answer.error or f"answered {answer.status}"
    gone = answer.status == _GONE
    asked = parse_retry_after(answer.retry_after, now)
    strain = (asked or timedelta()) if answer.status in _STRAINED else None
    if answer.final or gone or attempt > len(schedule):
        return Verdict(outcome=Outcome.FAILED, error=error, gone=gone, strain=strain)
    spread = 1 - JITTER + 2 * JITTER * chance
    delay = schedule[attempt - 1] * spread if asked is None else asked
    return Verdict(outcome=Outcome.RETRY, error=error, delay=delay, strain=strain)


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds or a date, cut to 24 h; else None."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdecimal():
        # A number may have more digits than a timedelta, or int() itself, takes.
        if len(value.lstrip("0")) > 6:
            return LONGEST_RETRY_AFTER
        return min(timedelta(seconds=int(value)), LONGEST_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
    return min(max(date - now, timedelta()), LONGEST_RETRY_AFTER)
