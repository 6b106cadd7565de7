"""Takes the audit entries that no change took with it."""

from __future__ import annotations

from brikk_shared.audit import AuditEntry
from brikk_shared.database import Database


class AuditLog:
    """Takes the entries that no change took with it: of calls that failed, or changed nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, entry: AuditEntry) -> None:
        """Write the entry durably, in a transaction of its own."""
        async with self._database.transaction(audit=[entry]):
            pass
