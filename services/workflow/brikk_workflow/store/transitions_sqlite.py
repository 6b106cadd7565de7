"""A batch of transitions as prepared SQLite statements, in one visit to the driver's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from brikk_shared import faults
from brikk_shared.audit_rows import COLUMNS as AUDIT
from brikk_shared.database import Database
from brikk_shared.outbox import Outbox
from brikk_workflow.store.transition_rows import (
    BEGINNING,
    BEGUN,
    EVENTS,
    HISTORY,
    MOVED,
    OUTPUTS,
    REPLACE,
    TransitionRows,
)


class SqliteTransitions:
    """Commits batches row by row: where nothing lies between us and the store, that is fastest."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._begin = _BEGIN.format(columns=", ".join(BEGUN), row=_row(BEGINNING))
        self._move = _MOVE.format(now=database.now_sql, **_numbered(MOVED))
        self._keep_output = f"{_insert('step_output', OUTPUTS)} {REPLACE}"
        self._keep_entry = _insert("history", HISTORY)
        self._keep_audit = _insert("audit_entry", AUDIT)
        event = f"(SELECT 1 AS place, {_row(EVENTS)}) AS b"
        self._keep_event = outbox.insert_from(event)

    async def commit(self, rows: TransitionRows) -> Mapping[str, int]:
        """Return the `inbox_seq` of each execution whose row was taken."""

        def write(connection: sqlite3.Connection) -> Mapping[str, int]:
            cursor = connection.cursor()
            taken: dict[str, int] = {}
            for row in rows.begun:
                taken.update(cursor.execute(self._begin, row).fetchall())
            for row in rows.moved:
                taken.update(cursor.execute(self._move, row).fetchall())
            cursor.executemany(_DROP, rows.of(taken, rows.dropped))
            cursor.executemany(self._keep_output, rows.of(taken, rows.outputs))
            cursor.executemany(self._keep_entry, rows.of(taken, rows.history))
            cursor.executemany(self._keep_event, rows.of(taken, rows.events))
            cursor.executemany(self._keep_audit, rows.audit)
            faults.reach("commit.before")
            return taken

        return await self._database.run_in_driver(write)


def _numbered(columns: Iterable[str]) -> dict[str, str]:
    return {column: f"?{number}" for number, column in enumerate(columns, 1)}


def _row(columns: Iterable[str]) -> str:
    return ", ".join(f"{number} AS {column}" for column, number in _numbered(columns).items())


def _insert(table: str, columns: Iterable[str]) -> str:
    numbered = _numbered(columns)
    return f"INSERT INTO {table} ({', '.join(numbered)}) VALUES ({', '.join(numbered.values())})"


_DROP = "DELETE FROM step_output WHERE execution_id = ?1 AND step_id = ?2"
_BEGIN = """
INSERT INTO execution ({columns}, epoch, requested_transition, inbox_seq, inbox_folded)
SELECT {columns}, 1, '', 0, 0 FROM (SELECT {row}) AS b
WHERE NOT b.newest OR b.version = (
    SELECT latest_version FROM workflow
    WHERE workflow.organization = b.organization AND workflow.workflow_id = b.workflow_id
)
ON CONFLICT (organization, request_id) DO NOTHING
RETURNING execution_id, inbox_seq
"""
# A wish recorded meanwhile wakes whoever may hold the execution then. An inner check for rows in
# the inbox would miss one that commits after it.
_MOVE = """
UPDATE execution SET
    seq = {seq}, status = {status}, owner = {owner}, snapshot = {snapshot},
    wake_at = CASE WHEN inbox_seq > {inbox_folded} THEN {now} ELSE {wake_at} END,
    inbox_folded = {inbox_folded}, output = {output}, end_time = {end_time}, head = {head}
WHERE execution_id = {execution_id} AND epoch = {epoch} AND seq = {seq_before}
RETURNING execution_id, inbox_seq
"""
