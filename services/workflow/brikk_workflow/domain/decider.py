"""The engine's core: what follows from the events of an execution. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from brikk_shared.errors import BrikkError, Reason
from brikk_workflow.domain.compiled import CompiledStep, CompiledWorkflow
from brikk_workflow.domain.decision import (
    AgentAvailable,
    AgentMissing,
    Announcement,
    AttemptFailed,
    AttemptSucceeded,
    Call,
    CallsLost,
    CancelCall,
    CancelRequested,
    Decision,
    Event,
    HistoryEntry,
    TimerFired,
    Values,
)
from brikk_workflow.domain.expression import Scope
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json, check
from brikk_workflow.domain.retry import backoff, is_retryable
from brikk_workflow.domain.state import (
    PENDING,
    ExecutionState,
    ExecutionStatus,
    StepState,
    StepStatus,
)


def start(
    workflow: CompiledWorkflow, *, values: Values, now: datetime, random: Callable[[], float]
) -> Decision:
    """Begin an execution: the steps that wait for nothing are called."""
    state = ExecutionState(started_at=now, deadline=now + workflow.definition.timeout)
    fold = _Fold(workflow, state, values, now, random)
    fold.start()
    return fold.decision()


def decide(
    workflow: CompiledWorkflow,
    state: ExecutionState,
    events: Sequence[Event],
    *,
    values: Values,
    now: datetime,
    random: Callable[[], float],
) -> Decision:
    """Fold events, in their order, into one decision.

    An execution that has ended absorbs everything. A result whose token is not that of the call
    in flight is only recorded. `random` answers in [0, 1) and spreads the waits of retries.
    """
    fold = _Fold(workflow, state, values, now, random)
    for event in events:
        fold.apply(event)
    return fold.decision()


def calls_in_flight(
    workflow: CompiledWorkflow, state: ExecutionState, values: Values
) -> tuple[Call, ...]:
    """Return the orders of all RUNNING steps, to send what was recorded and perhaps never sent."""
    if state.status.terminal:
        return ()
    scope = _scope(workflow, state.steps, values, values.outputs)
    return tuple(
        _call(workflow.steps[step_id], step, workflow.steps[step_id].input.render(scope))
        for step_id, step in state.steps.items()
        if step.status is StepStatus.RUNNING
    )


class _Fold:
    """One decision in the making: events change it, `decision` ends it."""

    def __init__(
        self,
        workflow: CompiledWorkflow,
        state: ExecutionState,
        values: Values,
        now: datetime,
        random: Callable[[], float],
    ) -> None:
        self.workflow = workflow
        self.before = state
        self.values = values
        self.now = now
        self.random = random
        self.status = state.status
        self.failure = state.failure
        self.sequence = state.sequence
        self.dispatches = state.dispatches
        self.steps = dict(state.steps)
        self.outputs: dict[str, Json] = {}
        self.output: Json = None
        self.history: list[HistoryEntry] = []
        self.announcements: list[Announcement] = []
        self.calls: dict[str, Call] = {}
        self.cancels: list[CancelCall] = []

    def decision(self) -> Decision:
        """Return what has come together."""
        if not self.history:
            return Decision(state=self.before)
        return Decision(
            state=ExecutionState(
                status=self.status,
                sequence=self.sequence,
                dispatches=self.dispatches,
                started_at=self.before.started_at,
                deadline=self.before.deadline,
                ended_at=self.now if self.status.terminal else None,
                failure=self.failure,
                steps=self.steps,
            ),
            history=tuple(self.history),
            commands=(*self.cancels, *self.calls.values()),
            announcements=tuple(self.announcements),
            outputs=self.outputs,
            output=self.output,
        )

    def start(self) -> None:
        """Record the start and begin the steps that wait for nothing."""
        facts = {"workflow": self.workflow.definition.id, "version": self.workflow.version}
        self._record("execution.started", "", facts)
        self._announce("execution.started", facts)
        self._proceed([step.id for step in self.workflow.definition.steps if not step.after])

    def apply(self, event: Event) -> None:
        """Take one event in."""
        if self.status.terminal:
            return
        match event:
            case AttemptSucceeded():
                self._succeeded(event)
            case AttemptFailed():
                self._failed(event)
            case AgentMissing():
                self._agent_missing(event)
            case AgentAvailable(capability=capability):
                self._agent_available(capability)
            case CallsLost():
                self._calls_lost()
            case TimerFired():
                self._timer_fired()
            case CancelRequested(reason=reason):
                message = reason or "The execution was cancelled"
                self._end(
                    ExecutionStatus.CANCELLED,
                    Failure(code="CANCELLED", reason=Reason.CANCELLED, message=message),
                )
"""The rest follows."""
