"""Batches into Redis, each once in effect, and how far each shard has come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from brikk_monitoring.domain.judgement import Judgement, Outcome
from brikk_monitoring.store.apply import MARK_TTL, Limits, call, script
from brikk_monitoring.store.connection import telling_failures
from brikk_monitoring.store.inventory import REMEMBERED
from brikk_monitoring.store.keys import ORGANIZATIONS, Shard, shard_mark

_REQUEST_TTL: Final = timedelta(minutes=10)
"""How long a request's id is remembered."""


class Intake:
    """Takes judged batches.

    A batch holds items of several organisations, whose keys may lie on different servers. So it
    is applied by one script per organisation, each with a mark of its own, and the mark of the
    shard follows when all are done. A crash in between leaves that one behind: the batch comes
    again, and the organisations that had it skip it.
    """

    def __init__(self, redis: Redis, limits: Limits) -> None:
        self._redis = redis
        self._limits = limits

    async def mark(self, shard: Shard) -> int:
        """Return the highest position applied for every organisation; 0 when there is none."""
        with telling_failures():
            return int(await self._redis.zscore(shard_mark(shard), shard.name) or 0)

    async def advance(self, shard: Shard, position: int) -> int:
        """Move the shard's mark up to a position, never down, and return it."""
        key = shard_mark(shard)
        with telling_failures():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zadd(key, {shard.name: position}, gt=True)
                pipe.expire(key, MARK_TTL)
                pipe.zscore(key, shard.name)
                *_, mark = await pipe.execute()
        return int(mark)

    async def apply(self, shard: Shard, judgements: Sequence[Judgement], now: datetime) -> int:
        """Apply what leaves something, in ascending positions; say how many came too late.

        All organisations go in one round trip. One whose mark lies within its items had the first
        of them, in another batch: nothing was applied, and those above the mark are sent again.
        """
        waiting: dict[str, list[Judgement]] = {}
        for judgement in judgements:
            if judgement.outcome in (Outcome.COUNTED, Outcome.REFUSED):
                waiting.setdefault(judgement.organization, []).append(judgement)
        expired = 0
        while waiting:
            found = await self._send(shard, waiting, now)
            expired += sum(late for _, late in found)
            waiting = {
                organization: [item for item in items if item.position > mark]
                for (organization, items), (mark, _) in zip(waiting.items(), found, strict=True)
                if items[0].position <= mark < items[-1].position
            }
        return expired

    async def record(
        self, organization: str, request_id: str, judgements: Sequence[Judgement], now: datetime
    ) -> int | None:
        """Apply what an organisation reported; None when that request was applied before.

        Otherwise say how many came too late. Every request is a shard that has but this batch.
        """
        keys, arguments = call(
            f"request:{request_id}", organization, judgements, self._limits, now, _REQUEST_TTL
        )
        with telling_failures():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.eval(script(), len(keys), *keys, *arguments)
                _remember(pipe, [organization], now)
                (mark, late), *_ = await pipe.execute()
        return None if mark else int(late)

    async def _send(
        self, shard: Shard, batches: Mapping[str, Sequence[Judgement]], now: datetime
    ) -> list[tuple[int, int]]:
        with telling_failures():
            async with self._redis.pipeline(transaction=False) as pipe:
                for organization, items in batches.items():
                    keys, arguments = call(shard.name, organization, items, self._limits, now)
                    # Not EVALSHA: a restarted server knows no digest, and a pipeline cannot react.
                    pipe.eval(script(), len(keys), *keys, *arguments)
                _remember(pipe, batches, now)
                found = await pipe.execute()
        return [(int(mark), int(late)) for mark, late in found[: len(batches)]]


def _remember(pipe: Pipeline, organizations: Iterable[str], now: datetime) -> None:
    """Note whose measurements there are, for as long as something of them may be counted."""
    pipe.zadd(ORGANIZATIONS, dict.fromkeys(organizations, now.timestamp()))
    pipe.expire(ORGANIZATIONS, REMEMBERED)
