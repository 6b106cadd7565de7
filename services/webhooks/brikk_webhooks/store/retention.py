"""The end of what is kept: bodies erased, old deliveries and those of deleted webhooks removed.

Each in batches, so that nobody waits long for a lock. Events are locked before it is asked who
still needs them; whoever makes deliveries of old events locks them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.ids import first_id, moment_of
from brikk_webhooks.store.tables import DELETED_WEBHOOK, WEBHOOK

_BATCH = 500
_MICROSECOND = timedelta(microseconds=1)

_EVENT = {"uid": "text", "taken": "timestamp"}
_DELIVERY = {"webhook_uid": "text", "id": "text"}


class Retention:
    """Erases and removes. Replicas may do so side by side.

    Args:
        payloads: for how long bodies are kept of webhooks that do not say it.
        deliveries: for how long deliveries that have ended, and their events, are kept.
    """

    def __init__(self, database: Database, *, payloads: timedelta, deliveries: timedelta) -> None:
        self._database = database
        self._dialect = dialect = database.dialect
        self._payloads = payloads
        self._deliveries = deliveries
        source = batch_source(dialect, _EVENT)
        now = database.now_sql
        lock = " FOR UPDATE SKIP LOCKED" if dialect == "postgresql" else ""
        page = f"AND uid < :bound ORDER BY uid LIMIT {_BATCH}{lock}"
        self._with_bodies = text(
            f"SELECT uid FROM event WHERE body IS NOT NULL AND uid > :after {page}"
        )
        self._erase = text(
            f"UPDATE event SET body = NULL FROM {source} WHERE event.uid = b.uid AND NOT EXISTS"
            " (SELECT 1 FROM delivery d JOIN webhook w ON w.uid = d.webhook_uid"
            " WHERE d.event_uid = event.uid AND (d.state = 1"
            f" OR b.taken > {now} - COALESCE(w.payload_retention, :payloads)))"
        )
        self._events = text(f"SELECT uid FROM event WHERE uid > :after {page}")
        uids = f"(SELECT b.uid FROM {source})"
        self._remove_old = text(
            f"DELETE FROM delivery WHERE event_uid IN {uids} AND state <> 1"
            f" AND create_time < {now} - :deliveries RETURNING webhook_uid, id"
        )
        self._remove_events = text(
            f"DELETE FROM event WHERE uid IN {uids}"
            " AND NOT EXISTS (SELECT 1 FROM delivery WHERE event_uid = event.uid)"
        )
        self._remove_attempts = text(
            "DELETE FROM attempt WHERE (webhook_uid, delivery_id) IN"
            f" (SELECT b.webhook_uid, b.id FROM {batch_source(dialect, _DELIVERY)})"
        )
        self._remove_left = text(
            "DELETE FROM delivery WHERE webhook_uid = :uid AND id IN (SELECT id FROM delivery"
            f" WHERE webhook_uid = :uid ORDER BY id LIMIT {_BATCH}) RETURNING webhook_uid, id"
        )

    async def erase_bodies(self, now: datetime, *, after: str) -> str | None:
        """Erase bodies of a batch of events that nobody needs; give the last, None at the end."""
        shortest = select(func.min(WEBHOOK.c.payload_retention))
        async with self._database.transaction(audit=()) as connection:
            own = (await connection.execute(shortest)).scalar_one_or_none()
            kept = self._payloads if own is None else min(self._payloads, own * _MICROSECOND)
            bounds = {"after": after, "bound": first_id(now - kept)}
            uids = (await connection.execute(self._with_bodies, bounds)).scalars().all()
            params = {**self._batch(uids), "payloads": self._payloads // _MICROSECOND}
            await connection.execute(self._erase, params)
        return uids[-1] if uids else None

    async def remove_old(self, now: datetime, *, after: str) -> str | None:
        """Remove what has ended of a batch of old events; give the last, None at the end."""
        bounds = {"after": after, "bound": first_id(now - self._deliveries)}
        async with self._database.transaction(audit=()) as connection:
            uids = (await connection.execute(self._events, bounds)).scalars().all()
            batch = self._batch(uids)
            params = {**batch, "deliveries": self._deliveries // _MICROSECOND}
            await self._remove(connection, params)
            await connection.execute(self._remove_events, batch)
        return uids[-1] if uids else None

    async def remove_left(self) -> bool:
        """Remove a batch of what a deleted webhook has left; tell whether there may be more."""
        async with self._database.transaction(audit=()) as connection:
            # Locked, so that the last of those who remove says that nothing is left.
            first = select(DELETED_WEBHOOK.c.uid).limit(1).with_for_update(skip_locked=True)
            uid = (await connection.execute(first)).scalar_one_or_none()
            if uid is None:
                return False
            gone = (await connection.execute(self._remove_left, {"uid": uid})).mappings().all()
            params = batch_params(self._dialect, _DELIVERY, [dict(row) for row in gone])
            await connection.execute(self._remove_attempts, params)
            if len(gone) < _BATCH:
                mark = DELETED_WEBHOOK.c.uid == uid
                await connection.execute(delete(DELETED_WEBHOOK).where(mark))
        return True

    async def _remove(self, connection: AsyncConnection, params: dict[str, object]) -> None:
        gone = (await connection.execute(self._remove_old, params)).mappings().all()
        batch = batch_params(self._dialect, _DELIVERY, [dict(row) for row in gone])
        await connection.execute(self._remove_attempts, batch)

    def _batch(self, uids: Sequence[str]) -> dict[str, object]:
        rows = [{"uid": uid, "taken": moment_of(uid)} for uid in uids]
        return batch_params(self._dialect, _EVENT, rows)
