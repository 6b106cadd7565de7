"""Which series an organisation has, and how much memory they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from redis.asyncio import Redis

from brikk_monitoring.domain.series import parse_series
from brikk_monitoring.domain.window import Resolution, Retention
from brikk_monitoring.store.apply import DEAD_LETTER_TTL, SERIES_TTL
from brikk_monitoring.store.connection import telling_failures
from brikk_monitoring.store.keys import ORGANIZATIONS, Keys

REMEMBERED: Final = DEAD_LETTER_TTL
"""After so long without an event an organisation has neither series with a place nor dead letters.
"""

_ROUND_TRIP: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A series and what it costs."""

    name: str
    time: datetime
    """When it was last counted."""
    buckets: int
    """How many it has at once, at most."""
    size: int
    """Bytes, when all are as large as those it was last counted in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Census:
    """How much there is of all organisations."""

    series: int
    """Series that have a place."""
    dead_letters: int


class Inventory:
    """Looks into the index of series."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def census(self, now: datetime) -> Census:
        """Count over all organisations; who sent nothing for long enough has nothing any more."""
        counted_since = (now - SERIES_TTL).timestamp()
        with telling_failures():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zremrangebyscore(ORGANIZATIONS, "-inf", (now - REMEMBERED).timestamp())
                pipe.zrange(ORGANIZATIONS, 0, -1)
                _, organizations = await pipe.execute()
            series = dead_letters = 0
            for first in range(0, len(organizations), _ROUND_TRIP):
                async with self._redis.pipeline(transaction=False) as pipe:
                    for each in cast("list[str]", organizations[first : first + _ROUND_TRIP]):
                        pipe.zcount(Keys(each).series, counted_since, "+inf")
                        pipe.xlen(Keys(each).dead_letters)
                    found = await pipe.execute()
                series += sum(found[::2])
                dead_letters += sum(found[1::2])
        return Census(series=series, dead_letters=dead_letters)

    async def names(self, organization: str) -> list[tuple[str, datetime]]:
        """Return the series that have a place, by name, and when they were last counted."""
        with telling_failures():
            found = await self._redis.zrange(Keys(organization).series, 0, -1, withscores=True)
        scored = cast("list[tuple[str, float]]", found)
        return sorted((name, datetime.fromtimestamp(score, UTC)) for name, score in scored)

    async def weigh(
        self,
        organization: str,
        series: Sequence[tuple[str, datetime]],
        retention: Callable[[str], Retention],
    ) -> list[Listed]:
        """Say what series cost under the retention of their metrics."""
        keys = Keys(organization)
        with telling_failures():
            async with self._redis.pipeline(transaction=False) as pipe:
                for name, time in series:
                    for resolution in Resolution:
                        pipe.memory_usage(keys.bucket(resolution, resolution.bucket_of(time), name))
                sizes = iter(await pipe.execute())
        listed = []
        for name, time in series:
            policy = retention(parse_series(name).metric)
            size = sum(policy.buckets_of(each) * int(next(sizes) or 0) for each in Resolution)
            listed.append(Listed(name=name, time=time, buckets=policy.buckets, size=size))
        return listed
