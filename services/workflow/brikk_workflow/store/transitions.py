"""The writes of the engine: many executions move in one transaction, each fenced by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from brikk_workflow.domain.decision import Announcement, HistoryEntry
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionState

SOURCE = "brikk.workflow"
"""Where our events come from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What a decision writes, whether it begins an execution or moves one.

    `owner` is the replica that holds it from now on, None when nobody needs to. `outputs` replace
    those stored at the same paths, those at the paths `dropped` go. `time` is when the decision
    was made. `head` is the hash of the entry that `history` follows, empty where none was chained
    yet.
    """

    execution_id: str
    state: ExecutionState
    owner: str | None
    wake_at: datetime | None
    output: Json
    outputs: Mapping[str, Json]
    dropped: Sequence[str]
    history: Sequence[HistoryEntry]
    organization: str
    traceparent: str
    announcements: Sequence[Announcement]
    time: datetime
    head: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class Begin:
    """The row of a new execution, at epoch 1.

    With `newest` it is not applied unless `version` is still the workflow's newest. `concurrency`
    is the limit that the version sets, None for any number.
    """

    changes: Changes
    workflow_id: str
    version: int
    input: Mapping[str, Json]
    labels: Mapping[str, str]
    priority: int
    concurrency: int | None = None
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
    `inbox_seq` tells of wishes that were recorded meanwhile, and `head` is the hash of the newest
    history entry.
    """

    applied: bool
    inbox_seq: int = 0
    head: bytes = b""


NOT_APPLIED = Written(applied=False)


def keys(write: Write) -> tuple[str, ...]:
    """Names the rows that a write touches: one batch holds at most one write for each."""
    if isinstance(write, Begin) and write.request_id:
        request = f"{write.changes.organization}/{write.request_id}"
        return (write.changes.execution_id, request)
    return (write.changes.execution_id,)
