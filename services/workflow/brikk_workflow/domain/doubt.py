"""What becomes of a step whose call may be made once, when nobody knows whether it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from brikk_workflow.domain.definition import AtMostOnce
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.failure import outcome_unknown
from brikk_workflow.domain.holding import suspend
from brikk_workflow.domain.state import StepState, StepStatus
from brikk_workflow.domain.steps import fail


def leave_unknown(
    draft: Draft, step_id: str, step: StepState, cause: str, latency: timedelta = timedelta()
) -> None:
    """Do what the step says instead of calling again; `cause` is why no answer came."""
    failure = outcome_unknown(step_id, step.agent, cause)
    if draft.workflow.at(step_id).step.at_most_once is AtMostOnce.FAIL:
        fail(draft, step_id, step, failure, latency)
        return
    draft.withdraw(step_id, step)
    draft.steps[step_id] = replace(step, status=StepStatus.UNKNOWN, token="", failure=failure)
    suspend(draft, failure)
