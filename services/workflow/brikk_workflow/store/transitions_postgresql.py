"""A batch of transitions as one PostgreSQL statement: one round trip, and its own transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from brikk_shared import faults
from brikk_shared.audit_rows import COLUMNS as AUDIT
from brikk_shared.batch import batch_arrays
from brikk_shared.database import Database
from brikk_shared.outbox import Outbox
from brikk_workflow.store.transition_rows import (
    BEGINNING,
    BEGUN,
    DROPPED,
    EVENTS,
    HISTORY,
    MOVED,
    OUTPUTS,
    REPLACE,
    Rows,
    TransitionRows,
)


class PostgresqlTransitions:
    """Commits batches by statements whose parts see which executions the first ones took."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._statements = {
            (begins, drops): _statement(database, outbox, begins=begins, drops=drops)
            for begins in (False, True)
            for drops in (False, True)
        }

    async def commit(self, rows: TransitionRows) -> Mapping[str, int]:
        """Return the `inbox_seq` of each execution whose row was taken."""
        arguments = [
            *_columns(MOVED, rows.moved),
            *_columns(OUTPUTS, rows.outputs),
            *_columns(HISTORY, rows.history),
            *_columns(EVENTS, rows.events),
        ]
        # Most batches have none of these: nobody needs to look for what is not there.
        begins, drops = bool(rows.begun or rows.audit), bool(rows.dropped)
        if begins:
            arguments += [*_columns(BEGINNING, rows.begun), *_columns(AUDIT, rows.audit)]
        if drops:
            arguments += _columns(DROPPED, rows.dropped)
        statement = self._statements[begins, drops]
        # Nothing lies between the writing of a lone statement and its commit.
        faults.reach("commit.before")
        taken = await self._database.run_statement(statement, arguments)
        return dict(taken)


def _columns(columns: Mapping[str, str], rows: Rows) -> Sequence[Sequence[object]]:
    return list(zip(*rows, strict=True)) if rows else [()] * len(columns)


def _statement(database: Database, outbox: Outbox, *, begins: bool, drops: bool) -> str:
    numbered = 1
    sources: dict[str, str] = {}
    batches = [("m", MOVED), ("o", OUTPUTS), ("h", HISTORY), ("e", EVENTS)]
    if begins:
        batches += [("b", BEGINNING), ("a", AUDIT)]
    if drops:
        batches.append(("d", DROPPED))
    for name, columns in batches:
        sources[name] = batch_arrays(columns, first=numbered, name=name)
        numbered += len(columns)
    taken = "SELECT execution_id, inbox_seq FROM moved"
    parts = {"moved": _MOVE.format(now=database.now_sql, source=sources["m"])}
    if begins:
        parts["begun"] = _BEGIN.format(columns=", ".join(BEGUN), source=sources["b"])
        taken += " UNION ALL SELECT execution_id, inbox_seq FROM begun"
    parts["taken"] = taken
    outputs = _insert("step_output", OUTPUTS, f"{sources['o']} {_OF_TAKEN}")
    # WHERE, or ON would be taken for that of the join.
    parts["step_outputs"] = f"{outputs} WHERE true {REPLACE}"
    if drops:
        parts["dropped"] = _DROP.format(source=sources["d"])
    parts["entries"] = _insert("history", HISTORY, f"{sources['h']} {_OF_TAKEN}")
    parts["events"] = outbox.insert_from(f"(SELECT * FROM {sources['e']} {_OF_TAKEN}) AS b")
    if begins:
        parts["audit"] = _insert("audit_entry", AUDIT, sources["a"])
    named = ", ".join(f"{name} AS ({part})" for name, part in parts.items())
    return f"WITH {named} SELECT execution_id, inbox_seq FROM taken"


def _insert(table: str, columns: Mapping[str, str], source: str) -> str:
    names = ", ".join(columns)
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {source}"


_DROP = """
DELETE FROM step_output USING {source} JOIN taken USING (execution_id)
WHERE step_output.execution_id = d.execution_id AND step_output.step_id = d.step_id
"""
_OF_TAKEN = "JOIN taken USING (execution_id)"
_BEGIN = """
INSERT INTO execution ({columns}, epoch, requested_transition, inbox_seq, inbox_folded)
SELECT {columns}, 1, '', 0, 0 FROM {source}
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
    seq = m.seq, status = m.status, owner = m.owner, snapshot = m.snapshot,
    wake_at = CASE WHEN execution.inbox_seq > m.inbox_folded THEN {now} ELSE m.wake_at END,
    inbox_folded = m.inbox_folded, output = m.output, end_time = m.end_time, head = m.head
FROM {source}
WHERE execution.execution_id = ANY (CAST($1 AS text[])) AND execution.execution_id = m.execution_id
    AND execution.epoch = m.epoch AND execution.seq = m.seq_before
RETURNING execution.execution_id, execution.inbox_seq
"""
