"""Where an execution stands: a small snapshot of states, counters and times, without payloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NotRequired, TypedDict

from brikk_shared.errors import Reason
from brikk_workflow.domain.failure import Failure

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class ExecutionStatus(StrEnum):
    """Where a run stands; see `brikk.workflow.v1.WorkflowExecution.State`."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing changes it any more."""
        return self is not ExecutionStatus.RUNNING


class StepStatus(StrEnum):
    """Where a step stands; see `brikk.workflow.v1.StepRun.State`."""

    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    BACKING_OFF = "backing_off"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def done(self) -> bool:
        """Whether the steps after it may go on."""
        return self is StepStatus.SUCCEEDED or self is StepStatus.SKIPPED

    @property
    def under_way(self) -> bool:
        """Whether it was begun and has not ended."""
        return self in _UNDER_WAY


_UNDER_WAY = frozenset({StepStatus.WAITING, StepStatus.RUNNING, StepStatus.BACKING_OFF})


@dataclass(frozen=True, kw_only=True, slots=True)
class StepState:
    """A step of an execution.

    `token` names the call in flight and is empty unless RUNNING. `due_at` is when a WAITING step
    gives up or a BACKING_OFF step tries again. `close_by` is the end of `schedule_to_close`.
    """

    status: StepStatus = StepStatus.PENDING
    attempt: int = 0
    token: str = ""
    agent: str = ""
    failure: Failure | None = None
    started_at: datetime | None = None
    attempt_at: datetime | None = None
    due_at: datetime | None = None
    close_by: datetime | None = None
    ended_at: datetime | None = None


PENDING = StepState()
NEVER_BEGUN = StepState(status=StepStatus.CANCELLED)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionState:
    """An execution. `steps` holds the steps that were begun or skipped; ask `step` for any.

    `sequence` counts the history entries, `dispatches` the calls that were ever ordered.
    """

    status: ExecutionStatus = ExecutionStatus.RUNNING
    sequence: int = 0
    dispatches: int = 0
    started_at: datetime
    deadline: datetime
    ended_at: datetime | None = None
    failure: Failure | None = None
    steps: Mapping[str, StepState] = field(default_factory=dict)

    def step(self, step_id: str) -> StepState:
        """Return where a step of the definition stands."""
        return self.steps.get(step_id) or (NEVER_BEGUN if self.status.terminal else PENDING)


def next_wake(state: ExecutionState) -> datetime | None:
    """Return when TimerFired is due next; None once the execution has ended."""
    if state.status.terminal:
        return None
    wake = state.deadline
    for step in state.steps.values():
        if step.status.under_way:
            if step.due_at is not None and step.due_at < wake:
                wake = step.due_at
            if step.close_by is not None and step.close_by < wake:
                wake = step.close_by
    return wake


class FailureJson(TypedDict):
    """The stored form of a failure."""

    code: str
    reason: str
    message: str
    metadata: Mapping[str, str]
    retryable: bool | None


class _StepJson(TypedDict):
    status: str
    attempt: NotRequired[int]
    token: NotRequired[str]
    agent: NotRequired[str]
    failure: NotRequired[FailureJson]
    started_at: NotRequired[int]
    attempt_at: NotRequired[int]
    due_at: NotRequired[int]
    close_by: NotRequired[int]
    ended_at: NotRequired[int]


class StateJson(TypedDict):
    """The stored form of a snapshot; times are microseconds since 1970."""

    status: str
    sequence: int
    dispatches: int
    started_at: int
    deadline: int
    ended_at: int | None
    failure: FailureJson | None
    steps: Mapping[str, _StepJson]
