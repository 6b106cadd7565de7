"""Retention policies, in Redis beside the measurements: the script that counts reads them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis

from brikk_monitoring.domain.window import Resolution, Retention
from brikk_monitoring.store.connection import telling_failures
from brikk_monitoring.store.keys import Keys

DEFAULT: Final = "default"
"""Names the policy of metrics that have none of their own."""

# Having been repeated after a lost reply, it finds what it left, and says so.
_REPLACE: Final = """#!lua
local now = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if now == ARGV[2] then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
  now = ARGV[3]
end
return now == ARGV[3] and 1 or 0
"""


class Policies:
    """Reads and writes the policies of organisations, by metric.

    Args:
        usual: what holds where an organisation has no policy.
    """

    def __init__(self, redis: Redis, usual: Retention) -> None:
        self._redis = redis
        self._usual = usual

    async def read(self, organization: str) -> dict[str, Retention]:
        """Return all policies of an organisation."""
        with telling_failures():
            found = await self._redis.hgetall(Keys(organization).retention)
        return {str(metric): _parse(str(text)) for metric, text in found.items()}

    async def held(self, wanted: Sequence[tuple[str, str]]) -> list[Retention]:
        """Return how long metrics of organisations are held."""
        distinct = list(dict.fromkeys(wanted))
        with telling_failures():
            async with self._redis.pipeline(transaction=False) as pipe:
                for organization, metric in distinct:
                    pipe.hmget(Keys(organization).retention, [metric, DEFAULT])
                found = await pipe.execute()
        held = {
            each: _parse(own or default) if own or default else self._usual
            for each, (own, default) in zip(distinct, found, strict=True)
        }
        return [held[each] for each in wanted]

    async def replace(
        self, organization: str, metric: str, before: Retention | None, after: Retention
    ) -> bool:
        """Put a policy in the place of another, or of none; False when there is a third one."""
        told = "" if before is None else _format(before)
        with telling_failures():
            replaced = await self._redis.eval(
                _REPLACE, 1, Keys(organization).retention, metric, told, _format(after)
            )
        return bool(replaced)

    async def remove(self, organization: str, metric: str) -> None:
        """Remove a policy, if it is there."""
        with telling_failures():
            await self._redis.hdel(Keys(organization).retention, metric)


def _format(policy: Retention) -> str:
    return " ".join(str(policy.of(each) // timedelta(seconds=1)) for each in Resolution)


def _parse(text: str) -> Retention:
    minute, hour, day = (timedelta(seconds=int(each)) for each in text.split())
    return Retention(minute=minute, hour=hour, day=day)
