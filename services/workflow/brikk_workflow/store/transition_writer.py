"""The commit of batches of decisions: rows first, then what belongs to the rows that took them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from brikk_shared.audit import AuditEntry
from brikk_shared.database import Database
from brikk_shared.outbox import Outbox
from brikk_workflow.store.transition_rows import to_rows
from brikk_workflow.store.transitions import NOT_APPLIED, Changes, Write, Written
from brikk_workflow.store.transitions_postgresql import PostgresqlTransitions
from brikk_workflow.store.transitions_sqlite import SqliteTransitions


class TransitionWriter:
    """Commits batches of decisions, each with as little as its store allows.

    Args:
        observe: told the size of each batch that was committed, and what of it was applied.
    """

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        *,
        observe: Callable[[int, Sequence[Changes]], None],
    ) -> None:
        self._outbox = outbox
        self._observe = observe
        self._store = (
            SqliteTransitions(database, outbox)
            if database.dialect == "sqlite"
            else PostgresqlTransitions(database, outbox)
        )

    async def commit(
        self, writes: Sequence[Write], audit: Sequence[AuditEntry | None]
    ) -> Sequence[Written]:
        """Write the batch in a transaction of its own; see `brikk_shared.group_commit`."""
        entries = [each for each in audit if each is not None and not each.recorded]
        rows = to_rows(writes, entries, self._outbox)
        taken = await self._store.commit(rows)
        for entry in entries:
            entry.recorded = True
        self._observe(
            len(writes),
            [write.changes for write in writes if write.changes.execution_id in taken],
        )
        return [
            NOT_APPLIED
            if (inbox_seq := taken.get(write.changes.execution_id)) is None
            else Written(
                applied=True, inbox_seq=inbox_seq, head=rows.heads[write.changes.execution_id]
            )
            for write in writes
        ]
