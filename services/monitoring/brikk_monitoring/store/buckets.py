"""Windows out of Redis: what series counted, bucket by bucket or in all, and the busiest ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import islice, product
from typing import Final, cast

from redis.asyncio import Redis

from brikk_monitoring.domain.measurement import Sums
from brikk_monitoring.domain.window import Window
from brikk_monitoring.store.connection import telling_failures
from brikk_monitoring.store.keys import Keys

_ROUND_TRIP: Final = 1000
"""Most buckets read at once; between two reads other calls have their turn."""


class Buckets:
    """Reads what was counted and is still held."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def sums(
        self, organization: str, series: Sequence[str], window: Window
    ) -> dict[str, Sums]:
        """Return what each of the series counted in the window."""
        sums = {name: Sums() for name in series}
        async for name, _, bucket in self._read(organization, series, window):
            sums[name].merge(bucket)
        return sums

    async def courses(
        self, organization: str, series: Sequence[str], window: Window
    ) -> dict[str, list[Sums]]:
        """Return what each of the series counted in each bucket of the window, in order."""
        courses = {name: [Sums() for _ in window.buckets] for name in series}
        async for name, number, bucket in self._read(organization, series, window):
            courses[name][number - window.first].merge(bucket)
        return courses

    async def ranking(self, organization: str, group: str, window: Window) -> list[tuple[str, int]]:
        """Return all series of a group that counted in the window, and how much.

        The busiest come first, then they go by name.
        """
        keys = Keys(organization)
        with telling_failures():
            found = await self._redis.zunion(
                [keys.rank(window.resolution, number, group) for number in window.buckets],
                withscores=True,
            )
        ranking = [(name, int(count)) for name, count in cast("list[tuple[str, float]]", found)]
        return sorted(ranking, key=lambda entry: (-entry[1], entry[0]))

    async def _read(
        self, organization: str, series: Sequence[str], window: Window
    ) -> AsyncIterator[tuple[str, int, dict[str, str]]]:
        keys = Keys(organization)
        wanted = product(series, window.buckets)
        while part := list(islice(wanted, _ROUND_TRIP)):
            with telling_failures():
                async with self._redis.pipeline(transaction=False) as pipe:
                    for name, number in part:
                        pipe.hgetall(keys.bucket(window.resolution, number, name))
                    buckets = await pipe.execute()
            for (name, number), bucket in zip(part, buckets, strict=True):
                if bucket:
                    yield name, number, bucket
