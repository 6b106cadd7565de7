"""Minutes: which one a moment falls into, which ones a window spans, how long each is held."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

FUTURE_ALLOWANCE: Final = timedelta(minutes=5)
"""How far ahead of our clock a producer's may be; an event further ahead is refused."""

_MINUTE: Final = 60


def minute_of(seconds: int) -> int:
    """Return the minute, counted from 1970, of a moment in seconds from 1970."""
    return seconds // _MINUTE


def time_to_live(minute: int, retention: timedelta, now: datetime) -> int:
    """Return for how many more seconds a minute is held; 0 or less when it is not.

    That is as long as a window of the retention's length still reaches it.
    """
    end = (minute + 1) * _MINUTE
    return end + int(retention.total_seconds()) - int(now.timestamp())


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Whole minutes, the last one included. It is still under way when the window ends now."""

    first: int
    last: int

    @staticmethod
    def ending_in(minute: int, length: timedelta) -> Window:
        """Return the window that ends in a minute and reaches back by at least a length."""
        return Window(first=minute - math.ceil(length / timedelta(minutes=1)), last=minute)

    @property
    def minutes(self) -> range:
        """All its minutes."""
        return range(self.first, self.last + 1)

    @property
    def start_time(self) -> datetime:
        """When its first minute begins."""
        return datetime.fromtimestamp(self.first * _MINUTE, UTC)
