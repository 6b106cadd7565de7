"""Room at endpoints with bounds: looked up and taken while no other replica does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.types import from_microseconds
from brikk_webhooks.domain.bounds import Bounds
from brikk_webhooks.domain.pace import paced
from brikk_webhooks.store.endpoints import Endpoint, Endpoints

_UID = {"webhook_uid": "text"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounded:
    """An endpoint with bounds, locked."""

    endpoint: Endpoint
    bounds: Bounds
    in_flight: int
    now: datetime


class Room:
    """Holds for one transaction, in which `look` comes first.

    Args:
        lanes: conditions of the lanes in which deliveries wait.
    """

    def __init__(self, database: Database, lanes: Sequence[str]) -> None:
        self._dialect = database.dialect
        self._endpoints = Endpoints(database)
        in_flight = " + ".join(
            f"(SELECT count(*) FROM delivery WHERE {lane} AND claim IS NOT NULL"
            " AND delivery.webhook_uid = b.webhook_uid"
            f" AND due_at > (SELECT {database.now_sql}))"
            for lane in lanes
        )
        self._in_flight = text(
            f"SELECT b.webhook_uid, {in_flight} AS number FROM {batch_source(self._dialect, _UID)}"
        )

    async def look(
        self, connection: AsyncConnection, webhooks: Mapping[str, Row[Any]]
    ) -> Mapping[str, Bounded]:
        """Lock endpoints; `webhooks` has what was read of each."""
        locked = await self._endpoints.lock(connection, webhooks)
        rows = [{"webhook_uid": uid} for uid, row in webhooks.items() if row.max_in_flight]
        in_flight: dict[str, int] = {}
        if rows:
            params = batch_params(self._dialect, _UID, rows)
            counts = await connection.execute(self._in_flight, params)
            in_flight = {row.webhook_uid: row.number for row in counts}
        found: dict[str, Bounded] = {}
        for uid, row in webhooks.items():
            endpoint = locked.endpoints.get(uid, Endpoint())
            health = endpoint.health.since(from_microseconds(row.update_time))
            bounds = Bounds(
                max_rate=row.max_rate,
                max_in_flight=row.max_in_flight,
                paced_until=endpoint.paced_until,
                paused_until=health.paused_until,
            )
            found[uid] = Bounded(
                endpoint=endpoint,
                bounds=bounds,
                in_flight=in_flight.get(uid, 0),
                now=locked.now,
            )
        return found

    async def take(
        self,
        connection: AsyncConnection,
        taken: Mapping[str, int],
        room: Mapping[str, Bounded],
        *,
        lease: timedelta,
    ) -> Collection[str]:
        """Write down how many were taken of each; return the endpoints that they probe."""
        changed: dict[str, Endpoint] = {}
        probed = set()
        for uid, bounded in room.items():
            if uid not in taken:
                continue
            endpoint, bounds, now = bounded.endpoint, bounded.bounds, bounded.now
            if bounds.max_rate:
                until = paced(bounds.paced_until, now, rate=bounds.max_rate, taken=taken[uid])
                changed[uid] = endpoint = replace(endpoint, paced_until=until)
            if bounds.probes(now):
                # Until it is known what came of it, nobody else tries.
                health = replace(endpoint.health, paused_until=now + lease)
                changed[uid] = replace(endpoint, health=health)
                probed.add(uid)
        await self._endpoints.write(connection, changed)
        return probed


def cut(shares: Mapping[str, int], room: Mapping[str, Bounded]) -> Mapping[str, int]:
    """Return the shares with no more than there is room for."""
    left = dict(shares)
    for uid, bounded in room.items():
        allowed = bounded.bounds.room(bounded.now, in_flight=bounded.in_flight)
        if allowed is not None:
            left[uid] = min(left[uid], allowed)
    return {uid: share for uid, share in left.items() if share}
