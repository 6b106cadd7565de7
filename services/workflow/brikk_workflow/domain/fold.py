"""Which rule each event follows."""

from __future__ import annotations

from brikk_workflow.domain.answers import lose_calls, take_answer
from brikk_workflow.domain.children import child_started
from brikk_workflow.domain.clocks import offer, take_time
from brikk_workflow.domain.compensation import close
from brikk_workflow.domain.decision import (
    Admitted,
    AgentAvailable,
    AgentGone,
    AgentMissing,
    AgentsFound,
    AttemptFailed,
    AttemptSucceeded,
    BidsReceived,
    CallsLost,
    CancelRequested,
    ChildStarted,
    Continue,
    Event,
    PauseRequested,
    ResumeRequested,
    SignalReceived,
    SkipRequested,
    Suspended,
    TerminateRequested,
    TimerFired,
)
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.endings import end
from brikk_workflow.domain.failure import cancelled, terminated
from brikk_workflow.domain.holding import admit, pause, resume, suspend
from brikk_workflow.domain.several import found
from brikk_workflow.domain.skipping import skip
from brikk_workflow.domain.state import ExecutionStatus
from brikk_workflow.domain.steps import go_on, proceed, succeed
from brikk_workflow.domain.waits import receive


def apply(draft: Draft, event: Event) -> None:
    """Take one event in; an execution that has ended absorbs it."""
    if draft.status.terminal:
        return
    match event:
        case AttemptSucceeded() | AttemptFailed() | AgentMissing() | AgentGone() | BidsReceived():
            take_answer(draft, event)
        case AgentsFound():
            found(draft, event)
        case ChildStarted():
            child_started(draft, event)
        case AgentAvailable():
            offer(draft, event.capability)
        case CallsLost():
            lose_calls(draft)
        case TimerFired():
            take_time(draft)
        case CancelRequested():
            _cancel(draft, event)
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
        case Continue():
            go_on(draft)
        case SignalReceived():
            if (path := receive(draft, event)) is not None:
                succeed(draft, path, event.data)
    proceed(draft)


def _cancel(draft: Draft, event: CancelRequested) -> None:
    """End the execution; one that undoes what it did is about to end anyhow."""
    if draft.closing is None:
        end_ = close if event.compensate else end
        end_(draft, ExecutionStatus.CANCELLED, cancelled(event.reason))
