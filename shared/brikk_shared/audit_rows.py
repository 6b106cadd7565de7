"""The rows that say who did what, written in the transaction of the change itself."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.audit import AuditEntry
from brikk_shared.batch import batch_params, batch_source, dialect_of
from brikk_shared.ids import new_id

_COLUMNS = {
    "id": "text",
    "organization": "text",
    "time": "timestamp",
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
    names = ", ".join(_COLUMNS)
    rows = [
        {
            "id": new_id(),
            "organization": entry.organization,
            "time": entry.time,
            "actor": entry.actor,
            "method": entry.method,
            "request_id": entry.request_id,
            "peer": entry.peer,
            "outcome": entry.outcome,
            "request_digest": entry.request_digest,
        }
        for entry in entries
    ]
    source = batch_source(dialect, _COLUMNS)
    statement = f"INSERT INTO audit_entry ({names}) SELECT {names} FROM {source}"
    await connection.execute(text(statement), batch_params(dialect, _COLUMNS, rows))
