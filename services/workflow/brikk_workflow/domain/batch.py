"""What is asked of many executions at once, and of which it may be asked."""

from __future__ import annotations

from enum import StrEnum

from brikk_workflow.domain.state import ExecutionStatus


class BatchVerb(StrEnum):
    """What is asked; see `brikk.workflow.v1.Batch.Verb`."""

    CANCEL = "cancel"
    TERMINATE = "terminate"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"

    @property
    def statuses(self) -> frozenset[ExecutionStatus]:
        """Where executions stand on which it has an effect."""
        return _STATUSES[self]


class BatchStatus(StrEnum):
    """Where a batch stands; see `brikk.workflow.v1.Batch.State`."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"


_HELD = frozenset({ExecutionStatus.PAUSED, ExecutionStatus.QUARANTINED})
_UNDER_WAY = frozenset({ExecutionStatus.QUEUED, ExecutionStatus.RUNNING})
_STATUSES = {
    BatchVerb.CANCEL: _UNDER_WAY | _HELD,
    BatchVerb.TERMINATE: _UNDER_WAY | _HELD,
    BatchVerb.PAUSE: _UNDER_WAY,
    BatchVerb.RESUME: _HELD,
    BatchVerb.RETRY: frozenset(
        {ExecutionStatus.FAILED, ExecutionStatus.CANCELLED, ExecutionStatus.TERMINATED}
    ),
}
