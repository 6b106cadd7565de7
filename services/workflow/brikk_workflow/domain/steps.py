"""How steps begin, are called, wait and fail."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from brikk_workflow.domain.compiled import CompiledStep
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.endings import complete, end
from brikk_workflow.domain.expression import ExpressionFailed
from brikk_workflow.domain.failure import Failure, step_failed
from brikk_workflow.domain.orders import make_call, render_input
from brikk_workflow.domain.payload import PayloadRefused
from brikk_workflow.domain.state import PENDING, ExecutionStatus, StepState, StepStatus
from brikk_workflow.domain.usage import used_up


def proceed(draft: Draft, ready: Iterable[str]) -> None:
    """Begin the steps that have become ready, and those that skipping these makes ready.

    A held execution begins nothing, but ends when its last call has been answered.
    """
    queue = deque(ready)
    while queue and draft.running:
        step_id = queue.popleft()
        if _begin(draft, step_id):
            queue.extend(draft.freed_by(step_id))
    if (
        len(draft.steps) == len(draft.workflow.steps)
        and not draft.status.terminal
        and all(step.status.done for step in draft.steps.values())
    ):
        complete(draft)


def order(
    draft: Draft, step_id: str, step: StepState, attempt: int, attempt_at: datetime | None
) -> None:
    """Order a call under a token of its own, for a new attempt or one that goes on."""
    compiled = draft.workflow.steps[step_id]
    if broke := used_up(draft.workflow.definition.budget, draft.calls, draft.usage):
        end(draft, ExecutionStatus.FAILED, broke)
        return
    try:
        payload = render_input(compiled, draft.scope)
    except (ExpressionFailed, PayloadRefused) as error:
        fail(draft, step_id, step, Failure.of(error))
        return
    draft.dispatches += 1
    draft.calls += 1
    called = StepState(
        status=StepStatus.RUNNING,
        attempt=attempt,
        token=f"{step_id}-{attempt}-{draft.dispatches}",
        agent=step.agent,
        failure=step.failure,
        started_at=step.started_at or draft.now,
        attempt_at=attempt_at,
        close_by=step.close_by or _close_by(draft, compiled),
    )
    draft.steps[step_id] = called
    draft.orders[called.token] = make_call(compiled, called, payload)
    draft.journal.attempt_started(step_id, called)


def wait(draft: Draft, step_id: str, step: StepState) -> None:
    """Wait for an agent until schedule_to_start, counted from the attempt's beginning."""
    limit = draft.workflow.steps[step_id].step.timeout.schedule_to_start
    draft.journal.waiting(step_id, step)
    draft.steps[step_id] = replace(
        step,
        status=StepStatus.WAITING,
        token="",
        due_at=(step.attempt_at or draft.clock) + limit,
    )


def fail(
    draft: Draft,
    step_id: str,
    step: StepState,
    failure: Failure,
    latency: timedelta = timedelta(),
) -> None:
    """Fail a step for good, and with it the execution."""
    draft.withdraw(step_id, step)
    step = replace(
        step,
        status=StepStatus.FAILED,
        token="",
        failure=failure,
        due_at=None,
        ended_at=draft.now,
    )
    draft.steps[step_id] = step
    draft.journal.step_failed(step_id, step, latency)
    end(draft, ExecutionStatus.FAILED, step_failed(step_id, failure))


def _close_by(draft: Draft, compiled: CompiledStep) -> datetime | None:
    limit = compiled.step.timeout.schedule_to_close
    return None if limit is None else draft.now + limit


def _begin(draft: Draft, step_id: str) -> bool:
    """Skip a step or order its first call; return whether it was skipped."""
    compiled = draft.workflow.steps[step_id]
    try:
        wanted = compiled.when is None or compiled.when.holds(draft.scope)
    except ExpressionFailed as error:
        fail(draft, step_id, PENDING, Failure.of(error))
        return False
    if not wanted:
        draft.skip(step_id, {})
        return True
    order(draft, step_id, PENDING, 1, draft.now)
    return False
