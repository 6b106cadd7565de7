"""What follows when time has passed or an agent has come up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from brikk_workflow.domain.doubt import leave_unknown
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.endings import end
from brikk_workflow.domain.failure import execution_timeout, no_agent, step_timeout
from brikk_workflow.domain.state import ExecutionStatus, StepStatus
from brikk_workflow.domain.steps import fail, order
from brikk_workflow.domain.usage import NO_USAGE


def take_time(draft: Draft) -> None:
    """Handle everything that is due; the execution first, for its end ends its steps."""
    if draft.status is ExecutionStatus.QUARANTINED:
        return
    if draft.now >= draft.deadline:
        limit = draft.workflow.definition.timeout
        end(draft, ExecutionStatus.FAILED, execution_timeout(limit))
    elif draft.running:
        _take_time_of_steps(draft)


def offer(draft: Draft, capability: str) -> None:
    """Call the steps that wait for an agent with the capability."""
    if draft.running:
        for step_id, step in draft.under_way(StepStatus.WAITING):
            if draft.workflow.steps[step_id].step.call.capability == capability:
                order(draft, step_id, step, step.attempt, step.attempt_at)


def _take_time_of_steps(draft: Draft) -> None:
    for step_id, step in draft.under_way():
        if not draft.running:  # one of them suspended the execution
            return
        definition = draft.workflow.steps[step_id].step
        limits = definition.timeout
        if limits.schedule_to_close and step.close_by and draft.now >= step.close_by:
            failure = step_timeout("schedule_to_close", limits.schedule_to_close)
            if step.token and definition.at_most_once is not None:
                silent = replace(step, failure=failure)
                draft.journal.attempt_failed(step_id, silent, timedelta(), None, NO_USAGE)
                leave_unknown(draft, step_id, silent, failure.message)
            else:
                fail(draft, step_id, step, failure)
        elif step.due_at is None or draft.now < step.due_at:
            continue
        elif step.status is StepStatus.WAITING:
            failure = no_agent(definition.call.capability, limits.schedule_to_start)
            fail(draft, step_id, step, failure)
        else:
            order(draft, step_id, step, step.attempt + 1, draft.now)
