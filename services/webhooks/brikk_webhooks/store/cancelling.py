"""Ending what disabled webhooks have left in the queue, however much, a batch at a time."""

from __future__ import annotations

from sqlalchemy import text

from brikk_shared.database import Database
from brikk_webhooks.domain.delivery import DeliveryState
from brikk_webhooks.domain.webhook import WebhookState
from brikk_webhooks.store.lanes import Lane

_BATCH = 1000


class Cancelling:
    """Cancels deliveries. What is claimed is under way and is left to its end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        now = database.now_sql
        free = f"(claim IS NULL OR due_at <= {now})"
        left = " OR ".join(
            f"EXISTS (SELECT 1 FROM delivery WHERE webhook_uid = w.uid AND {lane.value} AND {free})"
            for lane in Lane
        )
        self._find = text(
            f"SELECT uid FROM webhook w WHERE state = {WebhookState.DISABLED:d} AND ({left})"
            " LIMIT 1"
        )
        postgresql = database.dialect == "postgresql"
        place, lock = ("ctid", " FOR UPDATE SKIP LOCKED") if postgresql else ("rowid", "")
        self._cancel = [
            text(
                f"UPDATE delivery SET state = {DeliveryState.CANCELLED:d}, claim = NULL,"
                f" due_at = NULL, end_time = {now} WHERE {place} IN (SELECT {place} FROM delivery"
                f" WHERE webhook_uid = :uid AND {lane.value} AND {free} LIMIT {_BATCH}{lock})"
                " AND EXISTS (SELECT 1 FROM webhook WHERE uid = :uid"
                f" AND state = {WebhookState.DISABLED:d})"
            )
            for lane in Lane
        ]

    async def cancel(self) -> bool:
        """Cancel a batch of deliveries of one webhook; tell whether there may be more."""
        async with self._database.reading() as connection:
            uid = (await connection.execute(self._find)).scalar_one_or_none()
        if uid is None:
            return False
        async with self._database.transaction(audit=()) as connection:
            cancelled = [
                (await connection.execute(statement, {"uid": uid})).rowcount
                for statement in self._cancel
            ]
        return any(cancelled)
