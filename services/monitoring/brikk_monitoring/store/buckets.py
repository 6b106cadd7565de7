"""Windows out of Redis: what series counted, bucket by bucket or in all, and the busiest ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
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
        totals = await self.totals([(organization, name, window) for name in series])
        return dict(zip(series, totals, strict=True))

    async def totals(self, wanted: Sequence[tuple[str, str, Window]]) -> list[Sums]:
        """Return what series of organisations counted, each in a window; the same is one object."""
        totals = {each: Sums() for each in wanted}
        into: dict[str, list[Sums]] = {}
        for (organization, name, window), total in totals.items():
            keys = Keys(organization)
            for number in window.buckets:
                into.setdefault(keys.bucket(window.resolution, number, name), []).append(total)
        async for key, bucket in self._read(into):
            for total in into[key]:
                total.merge(bucket)
        return [totals[each] for each in wanted]

    async def courses(
        self, organization: str, series: Sequence[str], window: Window
    ) -> dict[str, list[Sums]]:
        """Return what each of the series counted in each bucket of the window, in order."""
        keys = Keys(organization)
        courses = {name: [Sums() for _ in window.buckets] for name in series}
        into = {
            keys.bucket(window.resolution, number, name): sums
            for name, course in courses.items()
            for number, sums in zip(window.buckets, course, strict=True)
        }
        async for key, bucket in self._read(into):
            into[key].merge(bucket)
        return courses

    async def ranking(self, organization: str, group: str, window: Window) -> list[tuple[str, int]]:
        """Return all series of a group that counted in the window, and how much.

        The busiest come first, then they go by name.
        """
        (ranking,) = await self.rankings([(organization, group, window)])
        return ranking

    async def rankings(
        self, wanted: Sequence[tuple[str, str, Window]]
    ) -> list[list[tuple[str, int]]]:
        """Return the rankings of groups of organisations, each in a window; none is read twice."""
        distinct = list(dict.fromkeys(wanted))
        if not distinct:
            return []
        with telling_failures():
            async with self._redis.pipeline(transaction=False) as pipe:
                for organization, group, window in distinct:
                    keys = Keys(organization)
                    pipe.zunion(
                        [keys.rank(window.resolution, number, group) for number in window.buckets],
                        withscores=True,
                    )
                found = await pipe.execute()
        rankings = {
            each: sorted(
                ((name, int(count)) for name, count in cast("list[tuple[str, float]]", scores)),
                key=lambda entry: (-entry[1], entry[0]),
            )
            for each, scores in zip(distinct, found, strict=True)
        }
        return [rankings[each] for each in wanted]

    async def _read(self, keys: Iterable[str]) -> AsyncIterator[tuple[str, dict[str, str]]]:
        wanted = iter(keys)
        while part := list(islice(wanted, _ROUND_TRIP)):
            with telling_failures():
                async with self._redis.pipeline(transaction=False) as pipe:
                    for key in part:
                        pipe.hgetall(key)
                    buckets = await pipe.execute()
            for key, bucket in zip(part, buckets, strict=True):
                if bucket:
                    yield key, bucket
