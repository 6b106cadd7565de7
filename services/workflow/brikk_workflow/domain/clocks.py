"""What follows when time has passed or an agent has come up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from brikk_workflow.domain.compensation import close
from brikk_workflow.domain.compiled import (
    CompiledCall,
    CompiledSeveral,
    CompiledSignal,
    CompiledWait,
)
from brikk_workflow.domain.doubt import leave_unknown
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.endings import end
from brikk_workflow.domain.failure import execution_timeout, no_agent, step_timeout
from brikk_workflow.domain.state import ExecutionStatus, StepState, StepStatus
from brikk_workflow.domain.steps import conclude, fail, muster, order, proceed
from brikk_workflow.domain.usage import NO_USAGE
from brikk_workflow.domain.waiting import asked_by
from brikk_workflow.domain.waits import over


def take_time(draft: Draft) -> None:
    """Handle everything that is due; the execution first, for its end ends its steps."""
    if draft.status is ExecutionStatus.QUARANTINED:
        return
    if draft.now >= draft.deadline:
        limit = draft.workflow.definition.timeout
        undo = end if draft.closing else close
        undo(draft, ExecutionStatus.FAILED, execution_timeout(limit))
    elif draft.running:
        _take_time_of_steps(draft)


def offer(draft: Draft, capability: str) -> None:
    """Call the steps that ask for this."""
    if draft.running:
        for path, step in draft.under_way(StepStatus.WAITING):
            compiled = draft.workflow.at(path)
            if asked_by(compiled, step) != capability:
                continue
            if isinstance(compiled.work, CompiledSeveral):
                muster(draft, path, compiled.work)
            else:
                order(draft, path, step, step.attempt, step.attempt_at)


def _take_time_of_steps(draft: Draft) -> None:
    for path, step in draft.under_way():
        if not draft.running:  # one of them suspended the execution
            return
        if step.close_by and draft.now >= step.close_by:
            _close_step(draft, path, step)
        elif step.due_at is not None and draft.now >= step.due_at:
            _take_turn(draft, path, step)
        proceed(draft)


def _close_step(draft: Draft, path: str, step: StepState) -> None:
    """A step ran into its schedule_to_close."""
    compiled = draft.workflow.at(path)
    definition = compiled.step
    limit = definition.timeout.schedule_to_close
    assert limit is not None and step.close_by is not None  # it set the other
    failure = step_timeout("schedule_to_close", limit)
    called = isinstance(compiled.work, CompiledCall) and step.token
    if called and definition.at_most_once is not None:
        silent = replace(step, failure=failure)
        draft.journal.attempt_failed(path, silent, timedelta(), None, NO_USAGE)
        leave_unknown(draft, path, silent, failure.message)
    else:
        fail(draft, path, step, failure)


def _take_turn(draft: Draft, path: str, step: StepState) -> None:
    """What a step waited for has not come, or its next attempt is due."""
    compiled = draft.workflow.at(path)
    work = compiled.work
    if isinstance(work, CompiledWait | CompiledSignal):
        conclude(draft, path, over(work))
    elif step.status is StepStatus.WAITING:
        limit = compiled.step.timeout.schedule_to_start
        fail(draft, path, step, no_agent(step.capability or compiled.call.kind.capability, limit))
    else:
        order(draft, path, step, step.attempt + 1, draft.now)
