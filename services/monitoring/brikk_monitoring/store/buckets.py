"""Windows out of Redis: the sums of series, and the agents by how busy they were."""

from __future__ import annotations

from collections.abc import Sequence
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
        keys = Keys(organization)
        sums = {name: Sums() for name in series}
        wanted = product(series, window.minutes)
        while part := list(islice(wanted, _ROUND_TRIP)):
            with telling_failures():
                async with self._redis.pipeline(transaction=False) as pipe:
                    for name, minute in part:
                        pipe.hgetall(keys.bucket(minute, name))
                    buckets = await pipe.execute()
            for (name, _), bucket in zip(part, buckets, strict=True):
                sums[name].merge(bucket)
        return sums

    async def busiest(self, organization: str, window: Window) -> list[tuple[str, int]]:
        """Return all agents called in the window and their calls, most first, then by name."""
        keys = Keys(organization)
        with telling_failures():
            found = await self._redis.zunion(
                [keys.calls(minute) for minute in window.minutes], withscores=True
            )
        ranking = [(agent, int(calls)) for agent, calls in cast("list[tuple[str, float]]", found)]
        return sorted(ranking, key=lambda entry: (-entry[1], entry[0]))
