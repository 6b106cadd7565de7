"""What lies sealed, wherever it lies: under which key of the ring, and sealed anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Table, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.crypto import Place, sealed_under
from brikk_shared.database import Database
from brikk_webhooks.domain.dispatch import headers_place, key_place
from brikk_webhooks.store.tables import HEADERS, SIGNING_KEY, WEBHOOK

_RENEWED = {"webhook_uid": "text", "version": "bigint", "sealed": "bytes", "sealed_under": "text"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Resting:
    """Something sealed, where it lies."""

    webhook_uid: str
    version: int
    sealed: bytes
    place: Place


class SealedRows:
    """The sealed rows of one table.

    Args:
        place: says where a row of a webhook, given by organisation and id, belongs.
    """

    def __init__(
        self, database: Database, table: Table, place: Callable[[str, str, int], Place]
    ) -> None:
        self._dialect = database.dialect
        self._table = table
        self._place = place
        self._renew = text(
            f"UPDATE {table.name} SET sealed = b.sealed, sealed_under = b.sealed_under"
            f" FROM {batch_source(database.dialect, _RENEWED)}"
            f" WHERE {table.name}.webhook_uid = b.webhook_uid"
            f" AND {table.name}.version = b.version"
        )

    async def lock_outdated(
        self, connection: AsyncConnection, primary: str, *, after: tuple[str, int], limit: int
    ) -> list[Resting]:
        """Lock rows under another key of the ring; others have theirs to themselves."""
        table = self._table
        key = (table.c.webhook_uid, table.c.version)
        query = (
            select(table, WEBHOOK.c.organization, WEBHOOK.c.id)
            .join(WEBHOOK, WEBHOOK.c.uid == table.c.webhook_uid)
            .where(table.c.sealed_under != primary, tuple_(*key) > after)
            .order_by(*key)
            .limit(limit)
            .with_for_update(of=table, skip_locked=True)
        )
        return [
            Resting(
                webhook_uid=row.webhook_uid,
                version=row.version,
                sealed=row.sealed,
                place=self._place(row.organization, row.id, row.version),
            )
            for row in await connection.execute(query)
        ]

    async def renew(self, connection: AsyncConnection, found: Sequence[Resting]) -> None:
        """Keep rows as they have been sealed anew. They must be locked."""
        rows = [
            {
                "webhook_uid": each.webhook_uid,
                "version": each.version,
                "sealed": each.sealed,
                "sealed_under": sealed_under(each.sealed),
            }
            for each in found
        ]
        await connection.execute(self._renew, batch_params(self._dialect, _RENEWED, rows))


def all_sealed(database: Database) -> Sequence[SealedRows]:
    """Return whatever lies sealed."""
    return (
        SealedRows(database, SIGNING_KEY, key_place),
        SealedRows(database, HEADERS, headers_place),
    )


async def count_by_ring_key(connection: AsyncConnection) -> dict[str, int]:
    """Tell how much lies sealed under each key of a ring."""
    counts: Counter[str] = Counter()
    for table in (SIGNING_KEY, HEADERS):
        column = table.c.sealed_under
        for row in await connection.execute(select(column, func.count()).group_by(column)):
            counts[row[0]] += row[1]
    return dict(counts)
