"""Batches into Redis, each once in effect, and how far each shard has come."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Final

from redis.asyncio import Redis

from brikk_monitoring.domain.judgement import Judgement, Outcome, tally
from brikk_monitoring.domain.measurement import AGENT_PREFIX, OTHER_AGENTS, Status
from brikk_monitoring.domain.window import FUTURE_ALLOWANCE, minute_of, time_to_live
from brikk_monitoring.store.connection import telling_failures
from brikk_monitoring.store.keys import Keys, Shard, shard_mark

_MARK_TTL: Final = timedelta(days=30)
_DEAD_LETTER_TTL: Final = timedelta(days=7)
_DEAD_LETTERS: Final = 1000
"""Most refused events kept per organisation."""


@cache
def _script() -> str:
    return resources.files(__package__).joinpath("apply.lua").read_text(encoding="utf-8")


class Intake:
    """Takes judged batches.

    A batch holds items of several organisations, whose keys may lie on different servers. So it
    is applied by one script per organisation, each with a mark of its own, and the mark of the
    shard follows when all are done. A crash in between leaves that one behind: the batch comes
    again, and the organisations that had it skip it.
    """

    def __init__(self, redis: Redis, *, series_cap: int, retention: timedelta) -> None:
        self._redis = redis
        self._series_cap = series_cap
        self._retention = retention

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
                pipe.expire(key, _MARK_TTL)
                pipe.zscore(key, shard.name)
                *_, mark = await pipe.execute()
        return int(mark)

    async def apply(self, shard: Shard, judgements: Sequence[Judgement], now: datetime) -> None:
        """Apply what leaves something, in ascending positions.

        All organisations go in one round trip. One whose mark lies within its items had the first
        of them, in another batch: nothing was applied, and those above the mark are sent again.
        """
        waiting: dict[str, list[Judgement]] = {}
        for judgement in judgements:
            if judgement.outcome in (Outcome.COUNTED, Outcome.REFUSED):
                waiting.setdefault(judgement.organization, []).append(judgement)
        while waiting:
            found = await self._send(shard, waiting, now)
            waiting = {
                organization: [item for item in items if item.position > mark]
                for (organization, items), mark in zip(waiting.items(), found, strict=True)
                if items[0].position <= mark < items[-1].position
            }

    async def _send(
        self, shard: Shard, batches: Mapping[str, Sequence[Judgement]], now: datetime
    ) -> list[int]:
        with telling_failures():
            async with self._redis.pipeline(transaction=False) as pipe:
                for organization, items in batches.items():
                    keys, arguments = self._call(shard, organization, items, now)
                    # Not EVALSHA: a restarted server knows no digest, and a pipeline cannot react.
                    pipe.eval(_script(), len(keys), *keys, *arguments)
                return [int(mark) for mark in await pipe.execute()]

    def _call(
        self, shard: Shard, organization: str, items: Sequence[Judgement], now: datetime
    ) -> tuple[list[str], list[str | bytes | int]]:
        """Return the keys and arguments of apply.lua."""
        names = Keys(organization)
        keys = [names.mark(shard), names.agents, names.dead_letters]

        def number(key: str) -> int:
            keys.append(key)
            return len(keys)

        buckets: list[dict[str, object]] = []
        agents: list[dict[str, object]] = []
        for (minute, series), bucket in tally(items).items():
            entry: dict[str, object] = {
                "key": number(names.bucket(minute, series)),
                "ttl": time_to_live(minute, self._retention, now),
                "add": bucket,
            }
            if series.startswith(AGENT_PREFIX):
                entry |= {
                    "agent": series,
                    "minute": minute,
                    "overflow": number(names.bucket(minute, OTHER_AGENTS)),
                    "calls": number(names.calls(minute)),
                    "count": sum(bucket.get(status, 0) for status in Status),
                }
                agents.append(entry)
            else:
                buckets.append(entry)
        oldest = minute_of(int((now - self._retention).timestamp()))
        newest = minute_of(int((now + FUTURE_ALLOWANCE).timestamp()))
        batch = {
            "first": items[0].position,
            "last": items[-1].position,
            "mark_ttl": int(_MARK_TTL.total_seconds()),
            "buckets": buckets,
            "agents": agents,
            "agents_ttl": time_to_live(newest, self._retention, now),
            "oldest": oldest,
            "cap": self._series_cap,
            "overflow": OTHER_AGENTS,
            "dead_letters": _DEAD_LETTERS,
            "dead_letter_ttl": int(_DEAD_LETTER_TTL.total_seconds()),
        }
        arguments: list[str | bytes | int] = [json.dumps(batch, separators=(",", ":"))]
        for item in items:
            if item.refusal is not None:
                error = item.refusal.error
                arguments += [item.position, error.reason, error.message, item.refusal.event]
        return keys, arguments
