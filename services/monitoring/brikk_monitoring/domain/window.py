"""Buckets of time: their lengths, how long each is held, which ones a window spans."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

FUTURE_ALLOWANCE: Final = timedelta(minutes=5)
"""How far ahead of our clock a producer's may be; an event further ahead is refused."""


class Resolution(StrEnum):
    """How long the buckets are. Everything is counted in one of each."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> int:
        """The length of a bucket."""
        return _SECONDS[self]

    def bucket_of(self, moment: datetime) -> int:
        """Return the number, counted from 1970, of the bucket that a moment falls into."""
        return int(moment.timestamp()) // _SECONDS[self]


_SECONDS: Final = {Resolution.MINUTE: 60, Resolution.HOUR: 3600, Resolution.DAY: 86400}


def minute_of(seconds: int) -> int:
    """Return the minute, counted from 1970, of a moment in seconds from 1970."""
    return seconds // _SECONDS[Resolution.MINUTE]


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How long buckets are held after their end, by resolution."""

    minute: timedelta
    hour: timedelta
    day: timedelta

    def of(self, resolution: Resolution) -> timedelta:
        """Return how long buckets of a resolution are held."""
        match resolution:
            case Resolution.MINUTE:
                return self.minute
            case Resolution.HOUR:
                return self.hour
            case Resolution.DAY:
                return self.day

    def buckets_of(self, resolution: Resolution) -> int:
        """Return how many buckets of a resolution a series has at once, at most."""
        return math.ceil(self.of(resolution) / timedelta(seconds=resolution.seconds)) + 1

    @property
    def buckets(self) -> int:
        """How many buckets a series has at once, at most."""
        return sum(map(self.buckets_of, Resolution))

    def resolution_for(self, back: timedelta, length: timedelta) -> Resolution:
        """Return the shortest buckets that reach so far back and are few enough for a length.

        Days, when not even they do.
        """
        return next(
            (each for each in Resolution if back <= self.of(each) and length <= _LONGEST[each]),
            Resolution.DAY,
        )


_LONGEST: Final = {
    Resolution.MINUTE: timedelta(hours=3),
    Resolution.HOUR: timedelta(days=7),
    Resolution.DAY: timedelta.max,
}
"""What is covered by buckets of each resolution: longer, it would be too many to read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Whole buckets, the last one included. It is still under way when the window ends now."""

    first: int
    last: int
    resolution: Resolution = Resolution.MINUTE

    @staticmethod
    def ending_in(
        bucket: int, length: timedelta, resolution: Resolution = Resolution.MINUTE
    ) -> Window:
        """Return the window that ends in a bucket and reaches back by at least a length."""
        count = math.ceil(length / timedelta(seconds=resolution.seconds))
        return Window(first=bucket - count, last=bucket, resolution=resolution)

    @property
    def buckets(self) -> range:
        """The numbers of all its buckets."""
        return range(self.first, self.last + 1)

    @property
    def before(self) -> Window:
        """As many buckets before these."""
        first = 2 * self.first - self.last - 1
        return Window(first=first, last=self.first - 1, resolution=self.resolution)

    @property
    def start_time(self) -> datetime:
        """When its first bucket begins."""
        return datetime.fromtimestamp(self.first * self.resolution.seconds, UTC)

    @property
    def end_time(self) -> datetime:
        """When its last bucket ends."""
        return datetime.fromtimestamp((self.last + 1) * self.resolution.seconds, UTC)
