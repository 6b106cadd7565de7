"""The rows that say who did what, written in the transaction of the change itself."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.audit import AuditEntry
from brikk_shared.batch import batch_params, batch_source, dialect_of
from brikk_shared.ids import new_id
from brikk_shared.types import to_microseconds

COLUMNS = {
    "id": "text",
    "organization": "text",
    "time": "bigint",
    "actor": "text",
    "method": "text",
    "request_id": "text",
    "peer": "text",
    "outcome": "text",
    "request_digest": "text",
}


async def insert_entries(connection: AsyncConnection, entries: Sequence[AuditEntry]) -> None:
    """Add the entries to the transaction under way; who commits it sets `recorded` afterwards."""
    if not entries:
        return
    dialect = dialect_of(connection)
    names = ", ".join(COLUMNS)
    rows = [dict(zip(COLUMNS, entry_row(entry), strict=True)) for entry in entries]
    source = batch_source(dialect, COLUMNS)
    statement = f"INSERT INTO audit_entry ({names}) SELECT {names} FROM {source}"
    await connection.execute(text(statement), batch_params(dialect, COLUMNS, rows))


def entry_row(entry: AuditEntry) -> tuple[object, ...]:
    """Give the row of an entry, as stored, in the order of `COLUMNS`."""
    return (
        new_id(),
        entry.organization,
        to_microseconds(entry.time),
        entry.actor,
        entry.method,
        entry.request_id,
        entry.peer,
        entry.outcome,
        entry.request_digest,
    )
