"""Deliveries in order: of those with one ordering key, one is due at a time.

The others are held: they have no time when they are due. Who adds deliveries of an ordered webhook
and who ends them hold its endpoint's row locked, so that neither overlooks what the other does.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database

ORDERED = "state = 1 AND ordering_key IS NOT NULL"
"""Condition of the index."""

HELD = (
    "EXISTS (SELECT 1 FROM delivery p WHERE p.state = 1 AND p.ordering_key IS NOT NULL"
    " AND p.webhook_uid = delivery.webhook_uid AND p.ordering_key = delivery.ordering_key"
    " AND (p.create_time < delivery.create_time"
    " OR p.create_time = delivery.create_time AND p.id < delivery.id))"
)
"""Condition that there is a delivery before this one of its key."""

_KEY = {"webhook_uid": "text", "ordering_key": "text"}


def pending_before(delivery: str) -> str:
    """Give the condition that there is a delivery before all that are yet to come of its key."""
    return (
        f"EXISTS (SELECT 1 FROM delivery p WHERE p.state = 1 AND p.ordering_key IS NOT NULL"
        f" AND p.webhook_uid = {delivery}.webhook_uid"
        f" AND p.ordering_key = {delivery}.ordering_key)"
    )


class Ordering:
    """Lets the next go when one has ended."""

    def __init__(self, database: Database) -> None:
        self._dialect = database.dialect
        first = (
            f"SELECT n.id FROM delivery n WHERE {ORDERED} AND n.webhook_uid = {{0}}.webhook_uid"
            " AND n.ordering_key = {0}.ordering_key ORDER BY n.create_time, n.id LIMIT 1"
        )
        due = f"UPDATE delivery SET due_at = {database.now_sql}"
        self._let_go = text(
            f"{due} FROM {batch_source(self._dialect, _KEY)}"
            " WHERE delivery.webhook_uid = b.webhook_uid AND delivery.due_at IS NULL"
            f" AND delivery.id = ({first.format('b')})"
        )
        self._mend = text(
            f"{due} WHERE {ORDERED} AND due_at IS NULL AND id = ({first.format('delivery')})"
        )

    async def let_go(self, connection: AsyncConnection, keys: Sequence[tuple[str, str]]) -> None:
        """Make due what comes first now, of each webhook and ordering key."""
        rows = [dict(zip(_KEY, key, strict=True)) for key in keys]
        await connection.execute(self._let_go, batch_params(self._dialect, _KEY, rows))

    async def mend(self, connection: AsyncConnection) -> int:
        """Make due what is held by nothing; return how many that were.

        Cancelling ends deliveries without a look at their order, in batches between which their
        webhook may be enabled again.
        """
        return (await connection.execute(self._mend)).rowcount
