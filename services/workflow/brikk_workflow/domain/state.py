"""Where an execution stands: a small snapshot of states, counters and times, without payloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from brikk_workflow.domain.definition import Budget
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.usage import NO_USAGE, Usage


class ExecutionStatus(StrEnum):
    """Where a run stands; see `brikk.workflow.v1.WorkflowExecution.State`."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    QUARANTINED = "quarantined"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"

    @property
    def terminal(self) -> bool:
        """Whether nothing changes it any more."""
        return self is not ExecutionStatus.RUNNING and self in _TERMINAL


_TERMINAL = frozenset(
    {
        ExecutionStatus.SUCCEEDED,
        ExecutionStatus.FAILED,
        ExecutionStatus.CANCELLED,
        ExecutionStatus.TERMINATED,
    }
)


class StepStatus(StrEnum):
    """Where a step stands; see `brikk.workflow.v1.StepRun.State`."""

    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    BACKING_OFF = "backing_off"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def done(self) -> bool:
        """Whether it did what it should, or nothing."""
        return self is StepStatus.SUCCEEDED or self is StepStatus.SKIPPED

    @property
    def ended(self) -> bool:
        """Whether nothing more becomes of it: where its scope goes on, so do those after it."""
        return self in _ENDED

    @property
    def under_way(self) -> bool:
        """Whether it was begun and has not ended."""
        return self in _UNDER_WAY


_UNDER_WAY = frozenset(
    {StepStatus.WAITING, StepStatus.RUNNING, StepStatus.BACKING_OFF, StepStatus.UNKNOWN}
)
_ENDED = frozenset(
    {StepStatus.SUCCEEDED, StepStatus.SKIPPED, StepStatus.FAILED, StepStatus.CANCELLED}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a map, a loop or a call of several has come; a loop has no `total`."""

    total: int = 0
    begun: int = 0
    done: int = 0
    failed: int = 0

    @property
    def live(self) -> int:
        """How many are under way."""
        return self.begun - self.done - self.failed


@dataclass(frozen=True, kw_only=True, slots=True)
class StepState:
    """A step of an execution, or an instance of one in a map, a loop, a switch or a catch.

    `token` names the call in flight; a RUNNING step without one has others inside. `due_at` is
    when a WAITING step gives up, a wait ends or a BACKING_OFF step tries again. `close_by` is the
    end of `schedule_to_close`. `capability` is what it calls, and `selector` which of the agents,
    where that is known at run time only.
    `caught` is which of its catches runs since it failed, by its place. `child` is the full name
    of the execution that it runs.
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
    capability: str = ""
    selector: str = ""
    progress: Progress | None = None
    caught: int | None = None
    child: str = ""

    @property
    def failed(self) -> bool:
        """Whether it failed for good."""
        return self.status is StepStatus.FAILED


PENDING = StepState()
NEVER_BEGUN = StepState(status=StepStatus.CANCELLED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inherited:
    """What bounds the execution of a `workflow` step: what the one above it has left."""

    depth: int
    deadline: datetime
    budget: Budget


@dataclass(frozen=True, kw_only=True, slots=True)
class Closing:
    """How an execution ends once its compensations are done."""

    status: ExecutionStatus
    failure: Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionState:
    """An execution. `steps` holds the steps that were begun or skipped; ask `step` for any.

    Those within an item or iteration leave it when that ends, so it stays small.

    `sequence` counts the history entries, `dispatches` the calls that were ever ordered, `calls`
    those of them for which there was an agent. `admitted`: it had a place once, and keeps it
    while it is PAUSED. `held_at` is when it was PAUSED or QUARANTINED: there its clocks stand.
    `pause_reason` is what was said when it was PAUSED, empty in any other state. `state_version`
    counts the writings of the shared state, `undo` the steps done that have a compensation, and
    `closing` is set while these run. `inherited` is set where another execution runs it.
    """

    status: ExecutionStatus = ExecutionStatus.RUNNING
    sequence: int = 0
    dispatches: int = 0
    calls: int = 0
    usage: Usage = NO_USAGE
    admitted: bool = True
    started_at: datetime
    deadline: datetime
    held_at: datetime | None = None
    pause_reason: str = ""
    ended_at: datetime | None = None
    failure: Failure | None = None
    state_version: int = 0
    undo: int = 0
    closing: Closing | None = None
    inherited: Inherited | None = None
    steps: Mapping[str, StepState] = field(default_factory=dict)

    def step(self, step_id: str) -> StepState:
        """Return where a step of the definition stands."""
        return self.steps.get(step_id) or (NEVER_BEGUN if self.status.terminal else PENDING)


def next_wake(state: ExecutionState) -> datetime | None:
    """Return when TimerFired is due next; None for what has ended, or stands still by a defect."""
    if state.status.terminal or state.status is ExecutionStatus.QUARANTINED:
        return None
    wake = state.deadline
    if state.status is not ExecutionStatus.RUNNING:
        return wake
    for step in state.steps.values():
        if step.status.under_way:
            if step.due_at is not None and step.due_at < wake:
                wake = step.due_at
            if step.close_by is not None and step.close_by < wake:
                wake = step.close_by
    return wake
