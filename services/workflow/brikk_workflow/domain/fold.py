"""The rules by which events change an execution."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.decision import (
    AgentAvailable,
    AgentMissing,
    AttemptFailed,
    AttemptSucceeded,
    Call,
    CallsLost,
    CancelCall,
    CancelRequested,
    Decision,
    Event,
    TimerFired,
    Values,
)
from brikk_workflow.domain.expression import ExpressionFailed
from brikk_workflow.domain.failure import (
    Failure,
    cancelled,
    execution_timeout,
    no_agent,
    step_failed,
    step_timeout,
)
from brikk_workflow.domain.journal import Journal
from brikk_workflow.domain.orders import make_call, make_scope, readable_outputs, render_input
from brikk_workflow.domain.payload import Json, PayloadRefused, check
from brikk_workflow.domain.retry import backoff, may_retry
from brikk_workflow.domain.state import (
    PENDING,
    ExecutionState,
    ExecutionStatus,
    StepState,
    StepStatus,
)


class Fold:
    """One decision in the making: events change it, `decision` ends it."""

    def __init__(
        self,
        workflow: CompiledWorkflow,
        state: ExecutionState,
        values: Values,
        now: datetime,
        random: Callable[[], float],
    ) -> None:
        self._workflow = workflow
        self._before = state
        self._now = now
        self._random = random
        self._journal = Journal(workflow, state, now)
        self._readable = readable_outputs(state, values)
        self._scope = make_scope(workflow, self._readable, values)
        self._status = state.status
        self._failure = state.failure
        self._dispatches = state.dispatches
        self._steps = dict(state.steps)
        self._outputs: dict[str, Json] = {}
        self._output: Json = None
        self._calls: dict[str, Call] = {}
        self._cancels: list[CancelCall] = []

    def decision(self) -> Decision:
        """Return what has come together."""
        if not self._journal.entries:
            return Decision(state=self._before)
        return Decision(
            state=ExecutionState(
                status=self._status,
                sequence=self._journal.sequence,
                dispatches=self._dispatches,
                started_at=self._before.started_at,
                deadline=self._before.deadline,
                ended_at=self._now if self._status.terminal else None,
                failure=self._failure,
                steps=self._steps,
            ),
            history=tuple(self._journal.entries),
            commands=(*self._cancels, *self._calls.values()),
            announcements=tuple(self._journal.announcements),
            outputs=self._outputs,
            output=self._output,
        )

    def start(self) -> None:
        """Record the start and begin the steps that wait for nothing."""
        self._journal.started()
        self._proceed(step.id for step in self._workflow.definition.steps if not step.after)

    def apply(self, event: Event) -> None:
        """Take one event in."""
        if self._status.terminal:
            return
        match event:
            case AttemptSucceeded() | AttemptFailed() | AgentMissing():
                self._take_answer(event)
            case AgentAvailable():
                for step_id, step in self._under_way(StepStatus.WAITING):
                    if self._workflow.steps[step_id].step.call.capability == event.capability:
                        self._order(step_id, step, step.attempt, step.attempt_at)
            case CallsLost():
                for step_id, step in self._under_way(StepStatus.RUNNING):
                    self._journal.attempt_lost(step_id, step)
                    self._order(step_id, step, step.attempt, self._now)
            case TimerFired():
                self._take_time()
            case CancelRequested():
                self._end(ExecutionStatus.CANCELLED, cancelled(event.reason))

    # What became of calls and timers.

    def _take_answer(self, event: AttemptSucceeded | AttemptFailed | AgentMissing) -> None:
        step = self._steps.get(event.step_id, PENDING)
        if not step.token or step.token != event.token:
            self._journal.late_result(event.step_id, event.token)
        elif isinstance(event, AttemptSucceeded):
            self._succeed(step, event)
        elif isinstance(event, AttemptFailed):
            self._retry_or_fail(step, event)
        else:
            self._wait(event.step_id, step)

    def _succeed(self, step: StepState, event: AttemptSucceeded) -> None:
        step = replace(
            step,
            status=StepStatus.SUCCEEDED,
            token="",
            agent=event.agent,
            failure=None,
            ended_at=self._now,
        )
        self._steps[event.step_id] = step
        self._outputs[event.step_id] = self._readable[event.step_id] = event.output
        self._journal.step_succeeded(event.step_id, step, event.latency)
        self._proceed(self._freed_by(event.step_id))

    def _retry_or_fail(self, step: StepState, event: AttemptFailed) -> None:
        policy = self._workflow.steps[event.step_id].step.retry
        step = replace(step, token="", agent=event.agent, failure=event.failure)
        delay = None
        if step.attempt < policy.max_attempts and may_retry(event.failure, policy):
            delay = backoff(policy, step.attempt, self._random())
            if step.close_by is not None and self._now + delay >= step.close_by:
                delay = None
        self._journal.attempt_failed(event.step_id, step, event.latency, delay)
        if delay is None:
            self._fail(event.step_id, step, event.failure, event.latency)
        else:
            self._steps[event.step_id] = replace(
                step, status=StepStatus.BACKING_OFF, due_at=self._now + delay
            )

    def _wait(self, step_id: str, step: StepState) -> None:
        """Wait for an agent until schedule_to_start, counted from the attempt's beginning."""
        limit = self._workflow.steps[step_id].step.timeout.schedule_to_start
        self._journal.waiting(step_id, step)
        self._steps[step_id] = replace(
            step,
            status=StepStatus.WAITING,
            token="",
            due_at=(step.attempt_at or self._now) + limit,
        )

    def _take_time(self) -> None:
        """Handle everything that is due; the execution first, for its end ends its steps."""
        if self._now >= self._before.deadline:
            self._end(ExecutionStatus.FAILED, execution_timeout(self._workflow.definition.timeout))
            return
        for step_id, step in self._under_way():
            definition = self._workflow.steps[step_id].step
            limits = definition.timeout
            if limits.schedule_to_close and step.close_by and self._now >= step.close_by:
                failure = step_timeout("schedule_to_close", limits.schedule_to_close)
                self._fail(step_id, step, failure)
            elif step.due_at is None or self._now < step.due_at:
                continue
            elif step.status is StepStatus.WAITING:
                failure = no_agent(definition.call.capability, limits.schedule_to_start)
                self._fail(step_id, step, failure)
            else:
                self._order(step_id, step, step.attempt + 1, self._now)

    # Steps.

    def _proceed(self, ready: Iterable[str]) -> None:
        """Begin the steps that have become ready, and those that skipping these makes ready."""
        queue = deque(ready)
        while queue and not self._status.terminal:
            step_id = queue.popleft()
            if self._begin(step_id):
                queue.extend(self._freed_by(step_id))
        if (
            not self._status.terminal
            and len(self._steps) == len(self._workflow.steps)
            and all(step.status.done for step in self._steps.values())
        ):
            self._complete()

    def _freed_by(self, step_id: str) -> list[str]:
        """Return the steps for which this one, just done, was the last they waited for."""
        return [
            dependent
            for dependent in self._workflow.steps[step_id].dependents
            if all(
                self._steps.get(before, PENDING).status.done
                for before in self._workflow.steps[dependent].step.after
            )
        ]

    def _begin(self, step_id: str) -> bool:
        """Skip a step or order its first call; return whether it was skipped."""
        compiled = self._workflow.steps[step_id]
        try:
            wanted = compiled.when is None or compiled.when.holds(self._scope)
        except ExpressionFailed as error:
            self._fail(step_id, PENDING, Failure.of(error))
            return False
        if wanted:
            limit = compiled.step.timeout.schedule_to_close
            close_by = None if limit is None else self._now + limit
            self._order(step_id, StepState(close_by=close_by), 1, self._now)
            return False
        self._steps[step_id] = StepState(status=StepStatus.SKIPPED, ended_at=self._now)
        self._readable[step_id] = None
        self._journal.step_skipped(step_id)
        return True

    def _order(
        self, step_id: str, step: StepState, attempt: int, attempt_at: datetime | None
    ) -> None:
        """Order a call under a token of its own, for a new attempt or one that goes on."""
        compiled = self._workflow.steps[step_id]
        try:
            payload = render_input(compiled, self._scope)
        except (ExpressionFailed, PayloadRefused) as error:
            self._fail(step_id, step, Failure.of(error))
            return
        self._calls.pop(step.token, None)
        self._dispatches += 1
        step = replace(
            step,
            status=StepStatus.RUNNING,
            attempt=attempt,
            token=f"{step_id}-{attempt}-{self._dispatches}",
            started_at=step.started_at or self._now,
            attempt_at=attempt_at,
            due_at=None,
        )
        self._steps[step_id] = step
        self._calls[step.token] = make_call(compiled, step, payload)
        self._journal.attempt_started(step_id, step)

    def _fail(
        self, step_id: str, step: StepState, failure: Failure, latency: timedelta = timedelta()
    ) -> None:
        """Fail a step for good, and with it the execution."""
        self._withdraw(step_id, step)
        step = replace(
            step,
            status=StepStatus.FAILED,
            token="",
            failure=failure,
            due_at=None,
            ended_at=self._now,
        )
        self._steps[step_id] = step
        self._journal.step_failed(step_id, step, latency)
        self._end(ExecutionStatus.FAILED, step_failed(step_id, failure))

    def _under_way(self, status: StepStatus | None = None) -> Iterator[tuple[str, StepState]]:
        """Yield the steps under way, each as it stands when its turn comes."""
        for step_id in list(self._steps):
            step = self._steps[step_id]
            if step.status.under_way and status in (None, step.status):
                yield step_id, step

    def _withdraw(self, step_id: str, step: StepState) -> None:
        """Cancel the call in flight, if there is one; an order not yet given out is forgotten."""
        if step.token and self._calls.pop(step.token, None) is None:
            self._cancels.append(CancelCall(step_id=step_id, token=step.token))

    # The end.

    def _complete(self) -> None:
        try:
            output = self._workflow.output.render(self._scope)
            check(output, "output")
        except (ExpressionFailed, PayloadRefused) as error:
            self._end(ExecutionStatus.FAILED, Failure.of(error))
            return
        self._output = output
        self._status = ExecutionStatus.SUCCEEDED
        self._journal.ended(self._status, None)

    def _end(self, status: ExecutionStatus, failure: Failure) -> None:
        """End the execution before its last step.

        Steps that were never begun are not recorded: nobody has heard of them.
        """
        for step_id, step in self._under_way():
            self._withdraw(step_id, step)
            self._steps[step_id] = replace(
                step, status=StepStatus.CANCELLED, token="", due_at=None, ended_at=self._now
            )
            self._journal.step_cancelled(step_id)
        self._status = status
        self._failure = failure
        self._journal.ended(status, failure)
