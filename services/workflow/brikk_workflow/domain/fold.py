"""Which rule each event follows."""

from __future__ import annotations

from brikk_workflow.domain.answers import lose_calls, take_answer
from brikk_workflow.domain.clocks import offer, take_time
from brikk_workflow.domain.decision import (
    Admitted,
    AgentAvailable,
    AgentMissing,
    AttemptFailed,
    AttemptSucceeded,
    CallsLost,
    CancelRequested,
    Event,
    PauseRequested,
    ResumeRequested,
    SkipRequested,
    Suspended,
    TerminateRequested,
    TimerFired,
)
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.endings import end
from brikk_workflow.domain.failure import cancelled, terminated
from brikk_workflow.domain.holding import admit, pause, resume, suspend
from brikk_workflow.domain.skipping import skip
from brikk_workflow.domain.state import ExecutionStatus


def apply(draft: Draft, event: Event) -> None:
    """Take one event in; an execution that has ended absorbs it."""
    if draft.status.terminal:
        return
    match event:
        case AttemptSucceeded() | AttemptFailed() | AgentMissing():
            take_answer(draft, event)
        case AgentAvailable():
            offer(draft, event.capability)
        case CallsLost():
            lose_calls(draft)
        case TimerFired():
            take_time(draft)
        case CancelRequested():
            end(draft, ExecutionStatus.CANCELLED, cancelled(event.reason))
        case TerminateRequested():
            end(draft, ExecutionStatus.TERMINATED, terminated(event.reason))
        case PauseRequested():
            pause(draft, event.reason)
        case ResumeRequested():
            resume(draft)
        case SkipRequested():
            skip(draft, event)
        case Admitted():
            admit(draft)
        case Suspended():
            suspend(draft, event.failure)
