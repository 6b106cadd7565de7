"""How requests are spread so that no minute holds more than a webhook allows.

It is the generic cell rate algorithm (ITU-T I.371): each request moves a moment ahead by its share
of a minute, and requests may go while that moment lies no further ahead than a second's worth. So
one second's requests may go at once, and in no minute more than `rate`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

_MINUTE = timedelta(minutes=1)


def allowed(paced_until: datetime | None, now: datetime, *, rate: int) -> int:
    """Say how many requests may go now, at `rate` per minute."""
    ahead = _ahead(paced_until, now)
    burst, interval = _terms(rate)
    return max(0, burst - -(-ahead // interval))


def ready_at(paced_until: datetime, *, rate: int) -> datetime:
    """Say from when on another request may go."""
    burst, interval = _terms(rate)
    return paced_until - (burst - 1) * interval


def paced(paced_until: datetime | None, now: datetime, *, rate: int, taken: int) -> datetime:
    """Return the moment that so many more requests lead to."""
    _, interval = _terms(rate)
    return now + _ahead(paced_until, now) + taken * interval


def _ahead(paced_until: datetime | None, now: datetime) -> timedelta:
    return timedelta() if paced_until is None else max(paced_until - now, timedelta())


def _terms(rate: int) -> tuple[int, timedelta]:
    """Give how many may go at once, and the share of a minute of each."""
    burst = max(1, rate // 60)
    # Rounded up to the microsecond, so that the sum of a minute's is no less than a minute.
    return burst, -(-_MINUTE // timedelta(microseconds=1) // (rate - burst + 1)) * timedelta(
        microseconds=1
    )
