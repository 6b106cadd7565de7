"""Reports in Redis, those that are to be made among them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, cast

from redis.asyncio import Redis

from brikk_monitoring.domain.report import Kind, Report
from brikk_monitoring.store.connection import telling_failures
from brikk_monitoring.store.keys import PENDING_REPORTS, Keys

_KEPT: Final = timedelta(days=7)
_MOST: Final = 50
"""Reports listed per organisation, the newest."""
_FACTS: Final = ("kind", "window", "create_time")


class Reports:
    """Keeps the reports of organisations."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def order(self, organization: str, report: Report) -> Report:
        """Note a report that is to be made; the one that was ordered under its id before stands."""
        before = await self.get(organization, report.id)
        if before is not None:
            report = before
        keys, score = Keys(organization), report.create_time.timestamp()
        with telling_failures():
            # First, so that a crash in between leaves a note without a report, which is forgotten
            # in time, and not a report that nobody makes.
            if report.content is None:
                async with self._redis.pipeline(transaction=True) as pipe:
                    pipe.zadd(PENDING_REPORTS, {f"{organization}/{report.id}": score})
                    pipe.expire(PENDING_REPORTS, _KEPT)
                    await pipe.execute()
            async with self._redis.pipeline(transaction=True) as pipe:
                if before is None:
                    facts = (report.kind, report.window // timedelta(seconds=1), score)
                    pipe.hset(keys.report(report.id), mapping=dict(zip(_FACTS, facts, strict=True)))
                    pipe.expire(keys.report(report.id), _KEPT)
                pipe.zadd(keys.reports, {report.id: score})
                pipe.zremrangebyrank(keys.reports, 0, -_MOST - 1)
                pipe.expire(keys.reports, _KEPT)
                await pipe.execute()
        return report

    async def get(self, organization: str, report_id: str) -> Report | None:
        """Return a report, if there is one."""
        with telling_failures():
            found = await self._redis.hmget(
                Keys(organization).report(report_id), [*_FACTS, "content"]
            )
        return _report(report_id, found)

    async def newest(self, organization: str) -> list[Report]:
        """Return the reports without their contents, newest first."""
        keys = Keys(organization)
        with telling_failures():
            ids = cast("list[str]", await self._redis.zrange(keys.reports, 0, -1, desc=True))
            async with self._redis.pipeline(transaction=False) as pipe:
                for each in ids:
                    pipe.hmget(keys.report(each), [*_FACTS, "made"])
                found = await pipe.execute()
        reports = (_report(each, facts) for each, facts in zip(ids, found, strict=True))
        return [each for each in reports if each is not None]

    async def pending(self, most: int) -> list[tuple[str, str, datetime]]:
        """Return organisation, id and time of the orders that wait longest."""
        with telling_failures():
            found = await self._redis.zrange(PENDING_REPORTS, 0, most - 1, withscores=True)
        orders = []
        for name, score in cast("list[tuple[str, float]]", found):
            organization, _, report_id = name.partition("/")
            orders.append((organization, report_id, datetime.fromtimestamp(score, UTC)))
        return orders

    async def complete(self, organization: str, report_id: str, content: str | None) -> None:
        """Keep what was made; None when there was nothing to make."""
        with telling_failures():
            if content is not None:
                key = Keys(organization).report(report_id)
                async with self._redis.pipeline(transaction=True) as pipe:
                    pipe.hset(key, mapping={"content": content, "made": ""})
                    pipe.expire(key, _KEPT)
                    await pipe.execute()
            await self._redis.zrem(PENDING_REPORTS, f"{organization}/{report_id}")


def _report(report_id: str, found: Sequence[object]) -> Report | None:
    kind, window, create_time, content = found
    if kind is None or window is None or create_time is None:
        return None
    return Report(
        id=report_id,
        kind=Kind(str(kind)),
        window=timedelta(seconds=int(str(window))),
        create_time=datetime.fromtimestamp(float(str(create_time)), UTC),
        content=None if content is None else str(content),
    )
