"""The rows of a batch of transitions, as both stores take them: tuples in the order of columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from brikk_shared.audit import AuditEntry
from brikk_shared.audit_rows import entry_row
from brikk_shared.chain import link, root
from brikk_shared.event import make_event
from brikk_shared.outbox import COLUMNS as EVENT_COLUMNS
from brikk_shared.outbox import Outbox
from brikk_shared.types import to_json, to_microseconds
from brikk_workflow.domain.admission import rank
from brikk_workflow.domain.state_json import state_to_json
from brikk_workflow.store.transitions import SOURCE, Begin, Changes, Move, Write

BEGUN = {
    "execution_id": "text",
    "organization": "text",
    "workflow_id": "text",
    "version": "bigint",
    "status": "text",
    "seq": "bigint",
    "owner": "text",
    "wake_at": "bigint",
    "snapshot": "text",
    "input": "text",
    "output": "text",
    "labels": "text",
    "priority": "bigint",
    "concurrency": "bigint",
    "queue_rank": "bigint",
    "retry_of": "text",
    "traceparent": "text",
    "request_id": "text",
    "create_time": "bigint",
    "end_time": "bigint",
    "head": "bytes",
}
# Beside what is stored: whether the version must be the newest.
BEGINNING = {**BEGUN, "newest": "bool"}
MOVED = {
    "execution_id": "text",
    "epoch": "bigint",
    "seq_before": "bigint",
    "seq": "bigint",
    "status": "text",
    "owner": "text",
    "wake_at": "bigint",
    "inbox_folded": "bigint",
    "snapshot": "text",
    "output": "text",
    "end_time": "bigint",
    "head": "bytes",
}
OUTPUTS = {"execution_id": "text", "step_id": "text", "output": "text"}
DROPPED = {"execution_id": "text", "step_id": "text"}
HISTORY = {
    "execution_id": "text",
    "seq": "bigint",
    "time": "bigint",
    "type": "text",
    "step_id": "text",
    "attributes": "text",
    "hash": "bytes",
}
REPLACE = "ON CONFLICT (execution_id, step_id) DO UPDATE SET output = excluded.output"
# Beside what is stored: the execution that it belongs to.
EVENTS = {"execution_id": "text", **EVENT_COLUMNS}

Rows = Sequence[tuple[object, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class TransitionRows:
    """A batch. What belongs to an execution is written if its own row was taken.

    The outputs `dropped` are deleted. `heads` are the hashes of the newest entries, by execution.
    """

    begun: Rows
    moved: Rows
    outputs: Rows
    dropped: Rows
    history: Rows
    events: Rows
    audit: Rows
    heads: Mapping[str, bytes]

    def of(self, execution_ids: Collection[str], rows: Rows) -> Rows:
        """Return those of some rows that belong to executions that were taken."""
        if len(execution_ids) == len(self.begun) + len(self.moved):
            return rows
        return [row for row in rows if row[0] in execution_ids]


def to_rows(writes: Sequence[Write], audit: Sequence[AuditEntry], outbox: Outbox) -> TransitionRows:
    """Turn a batch of writes into rows."""
    changes = [write.changes for write in writes]
    announced = [(each, announcement) for each in changes for announcement in each.announcements]
    events = outbox.rows(
        [
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
            for each, announcement in announced
        ]
    )
    history: list[tuple[object, ...]] = []
    heads = {each.execution_id: _chain(each, history) for each in changes}
    return TransitionRows(
        begun=[
            _begun(write, heads[write.changes.execution_id])
            for write in writes
            if isinstance(write, Begin)
        ],
        moved=[
            _moved(write, heads[write.changes.execution_id])
            for write in writes
            if isinstance(write, Move)
        ],
        outputs=[
            (each.execution_id, step_id, to_json(output))
            for each in changes
            for step_id, output in each.outputs.items()
        ],
        dropped=[(each.execution_id, path) for each in changes for path in each.dropped],
        history=history,
        # None of them where nobody is told.
        events=[
            (each.execution_id, *row) for (each, _), row in zip(announced, events, strict=False)
        ],
        audit=[entry_row(entry) for entry in audit],
        heads=heads,
    )


def _chain(changes: Changes, rows: list[tuple[object, ...]]) -> bytes:
    """Add the history of an execution to the rows, and return the hash of its newest entry."""
    execution_id, organization, head = changes.execution_id, changes.organization, changes.head
    for entry in changes.history:
        time, attributes = to_microseconds(entry.time), to_json(entry.attributes)
        place = (entry.sequence, entry.type, entry.step_id, time, attributes)
        head = link(head or root(organization, execution_id), organization, execution_id, *place)
        rows.append(
            (execution_id, entry.sequence, time, entry.type, entry.step_id, attributes, head)
        )
    return head


def _begun(begin: Begin, head: bytes) -> tuple[object, ...]:
    changes = begin.changes
    return (
        changes.execution_id,
        changes.organization,
        begin.workflow_id,
        begin.version,
        changes.state.status.value,
        changes.state.sequence,
        changes.owner,
        _stamp(changes.wake_at),
        _snapshot(changes),
        to_json(begin.input),
        _output(changes),
        to_json(begin.labels),
        begin.priority,
        begin.concurrency,
        None if changes.state.admitted else rank(begin.priority),
        begin.retry_of or None,
        changes.traceparent,
        begin.request_id or None,
        to_microseconds(changes.time),
        _stamp(changes.state.ended_at),
        head or None,
        begin.newest,
    )


def _moved(move: Move, head: bytes) -> tuple[object, ...]:
    changes = move.changes
    return (
        changes.execution_id,
        move.epoch,
        move.sequence,
        changes.state.sequence,
        changes.state.status.value,
        changes.owner,
        _stamp(changes.wake_at),
        move.inbox_folded,
        _snapshot(changes),
        _output(changes),
        _stamp(changes.state.ended_at),
        head or None,
    )


def _snapshot(changes: Changes) -> str:
    return to_json(state_to_json(changes.state))


def _output(changes: Changes) -> str | None:
    return None if changes.output is None else to_json(changes.output)


def _stamp(time: datetime | None) -> int | None:
    return None if time is None else to_microseconds(time)
