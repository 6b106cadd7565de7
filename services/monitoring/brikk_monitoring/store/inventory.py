"""Which series an organisation has, and how much memory they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from redis.asyncio import Redis

from brikk_monitoring.domain.series import parse_series
from brikk_monitoring.domain.window import Resolution, Retention
from brikk_monitoring.store.connection import telling_failures
from brikk_monitoring.store.keys import Keys


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


class Inventory:
    """Looks into the index of series."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

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
