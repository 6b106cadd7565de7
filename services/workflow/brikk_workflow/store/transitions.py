"""The writes of the engine: many executions move in one transaction, each fenced by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import Dialect, batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.event import make_event
from brikk_shared.outbox import Outbox
from brikk_shared.types import to_json
from brikk_workflow.domain.decision import Announcement, HistoryEntry
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionState, state_to_json

SOURCE = "brikk.workflow"
"""Where our events come from."""

_BEGUN = {
    "execution_id": "text",
    "organization": "text",
    "workflow_id": "text",
    "version": "bigint",
    "status": "text",
    "seq": "bigint",
    "owner": "text",
    "wake_at": "timestamp",
    "snapshot": "text",
    "input": "text",
    "output": "text",
    "labels": "text",
    "priority": "bigint",
    "retry_of": "text",
    "traceparent": "text",
    "request_id": "text",
    "create_time": "timestamp",
    "end_time": "timestamp",
}
# Beside what is stored: whether the version must be the newest.
_BEGINNING = {**_BEGUN, "newest": "bool"}
_MOVED = {
    "execution_id": "text",
    "epoch": "bigint",
    "seq_before": "bigint",
    "seq": "bigint",
    "status": "text",
    "owner": "text",
    "wake_at": "timestamp",
    "inbox_folded": "bigint",
    "snapshot": "text",
    "output": "text",
    "end_time": "timestamp",
}
_OUTPUTS = {"execution_id": "text", "step_id": "text", "output": "text"}
_HISTORY = {
    "execution_id": "text",
    "seq": "bigint",
    "time": "timestamp",
    "type": "text",
    "step_id": "text",
    "attributes": "text",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What a decision writes, whether it begins an execution or moves one.

    `owner` is the replica that holds it from now on, None when nobody needs to. `time` is when
    the decision was made.
    """

    execution_id: str
    state: ExecutionState
    owner: str | None
    wake_at: datetime | None
    output: Json
    outputs: Mapping[str, Json]
    history: Sequence[HistoryEntry]
    organization: str
    traceparent: str
    announcements: Sequence[Announcement]
    time: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Begin:
    """The row of a new execution, at epoch 1.

    With `newest` it is not applied unless `version` is still the workflow's newest.
    """

    changes: Changes
    workflow_id: str
    version: int
    input: Mapping[str, Json]
    labels: Mapping[str, str]
    priority: int
    retry_of: str
    request_id: str
    newest: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A transition of an execution that the writer holds at `epoch` and last saw at `sequence`."""

    changes: Changes
    epoch: int
    sequence: int
    inbox_folded: int


Write = Begin | Move


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What became of a write.

    `applied` is false when the row was not as the writer believed: it must be read again.
    `inbox_seq` tells of wishes that were recorded meanwhile.
    """

    applied: bool
    inbox_seq: int = 0


NOT_APPLIED = Written(applied=False)


def keys(write: Write) -> tuple[str, ...]:
    """Names the rows that a write touches: one batch holds at most one write for each."""
    if isinstance(write, Begin) and write.request_id:
        request = f"{write.changes.organization}/{write.request_id}"
        return (write.changes.execution_id, request)
    return (write.changes.execution_id,)


class TransitionWriter:
    """Writes batches of decisions: rows first, then what belongs to the rows that took them.

    Args:
        observe: told the size of each batch.
    """

    def __init__(
        self, database: Database, outbox: Outbox, *, observe: Callable[[int], None]
    ) -> None:
        self._outbox = outbox
        self._observe = observe
        self._dialect = database.dialect
        self._begin = text(
            _BEGIN.format(columns=", ".join(_BEGUN), source=batch_source(self._dialect, _BEGINNING))
        )
        self._move = text(
            _MOVE.format(now=database.now_sql, source=batch_source(self._dialect, _MOVED))
        )
        self._keep_outputs = text(_insert("step_output", _OUTPUTS, self._dialect))
        self._keep_history = text(_insert("history", _HISTORY, self._dialect))

    async def write(
        self, connection: AsyncConnection, writes: Sequence[Write]
    ) -> Sequence[Written]:
        """Writes the batch in the transaction of `connection`; see `brikk_shared.group_commit`."""
        self._observe(len(writes))
        taken: dict[str, int] = {}
        if begins := [each for each in writes if isinstance(each, Begin)]:
            rows = [_begun_row(each) for each in begins]
            taken |= await self._take(connection, self._begin, _BEGINNING, rows)
        if moves := [each for each in writes if isinstance(each, Move)]:
            rows = sorted((_moved_row(each) for each in moves), key=_by_execution)
            taken |= await self._take(connection, self._move, _MOVED, rows)

        applied = [each.changes for each in writes if each.changes.execution_id in taken]
        outputs = [
            {"execution_id": each.execution_id, "step_id": step_id, "output": to_json(output)}
            for each in applied
            for step_id, output in each.outputs.items()
        ]
        if outputs:
            params = batch_params(self._dialect, _OUTPUTS, outputs)
            await connection.execute(self._keep_outputs, params)
        history = [_history_row(each, entry) for each in applied for entry in each.history]
        if history:
            params = batch_params(self._dialect, _HISTORY, history)
            await connection.execute(self._keep_history, params)
        events = [
            make_event(
                source=SOURCE,
                type=f"brikk.{announcement.type}.v1",
                subject=f"executions/{each.execution_id}",
                organization=each.organization,
                sequence=announcement.sequence,
                time=each.time,
                data=announcement.data,
                traceparent=each.traceparent,
            )
            for each in applied
            for announcement in each.announcements
        ]
        await self._outbox.add(connection, events)
        return [
            Written(applied=True, inbox_seq=taken[each.changes.execution_id])
            if each.changes.execution_id in taken
            else NOT_APPLIED
            for each in writes
        ]

    async def _take(
        self,
        connection: AsyncConnection,
        statement: TextClause,
        columns: Mapping[str, str],
        rows: Sequence[Mapping[str, object]],
    ) -> dict[str, int]:
        result = await connection.execute(statement, batch_params(self._dialect, columns, rows))
        return {row.execution_id: row.inbox_seq for row in result}


def _insert(table: str, columns: Mapping[str, str], dialect: Dialect) -> str:
    names = ", ".join(columns)
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {batch_source(dialect, columns)}"


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
    seq = b.seq, status = b.status, owner = b.owner, snapshot = b.snapshot,
    wake_at = CASE WHEN execution.inbox_seq > b.inbox_folded THEN {now} ELSE b.wake_at END,
    inbox_folded = b.inbox_folded, output = b.output, end_time = b.end_time
FROM {source}
WHERE execution.execution_id = b.execution_id
    AND execution.epoch = b.epoch AND execution.seq = b.seq_before
RETURNING execution.execution_id, execution.inbox_seq
"""


def _by_execution(row: Mapping[str, object]) -> str:
    return str(row["execution_id"])


def _common_row(changes: Changes) -> dict[str, object]:
    return {
        "execution_id": changes.execution_id,
        "status": changes.state.status,
        "seq": changes.state.sequence,
        "owner": changes.owner,
        "wake_at": changes.wake_at,
        "snapshot": to_json(state_to_json(changes.state)),
        "output": None if changes.output is None else to_json(changes.output),
        "end_time": changes.state.ended_at,
    }


def _begun_row(begin: Begin) -> dict[str, object]:
    return _common_row(begin.changes) | {
        "organization": begin.changes.organization,
        "workflow_id": begin.workflow_id,
        "version": begin.version,
        "input": to_json(begin.input),
        "labels": to_json(begin.labels),
        "priority": begin.priority,
        "retry_of": begin.retry_of or None,
        "traceparent": begin.changes.traceparent,
        "request_id": begin.request_id or None,
        "newest": begin.newest,
        "create_time": begin.changes.time,
    }


def _moved_row(move: Move) -> dict[str, object]:
    return _common_row(move.changes) | {
        "epoch": move.epoch,
        "seq_before": move.sequence,
        "inbox_folded": move.inbox_folded,
    }


def _history_row(changes: Changes, entry: HistoryEntry) -> dict[str, object]:
    return {
        "execution_id": changes.execution_id,
        "seq": entry.sequence,
        "time": entry.time,
        "type": entry.type,
        "step_id": entry.step_id,
        "attributes": to_json(entry.attributes),
    }
