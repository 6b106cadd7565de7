"""How an execution ends: with its last step, or before it."""

from __future__ import annotations

from dataclasses import replace

from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.expression import ExpressionFailed
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import PayloadRefused, check
from brikk_workflow.domain.state import ExecutionStatus, StepStatus


def complete(draft: Draft) -> None:
    """End an execution whose steps are all done."""
    try:
        output = draft.workflow.output.render(draft.scope)
        check(output, "output")
    except (ExpressionFailed, PayloadRefused) as error:
        end(draft, ExecutionStatus.FAILED, Failure.of(error))
        return
    draft.output = output
    _close(draft, ExecutionStatus.SUCCEEDED, None)


def end(draft: Draft, status: ExecutionStatus, failure: Failure) -> None:
    """End an execution before its last step.

    Steps that were never begun are not recorded: nobody has heard of them.
    """
    for step_id, step in draft.under_way():
        draft.withdraw(step_id, step)
        draft.steps[step_id] = replace(
            step, status=StepStatus.CANCELLED, token="", due_at=None, ended_at=draft.now
        )
        draft.journal.step_cancelled(step_id)
    _close(draft, status, failure)


def _close(draft: Draft, status: ExecutionStatus, failure: Failure | None) -> None:
    draft.status, draft.failure, draft.held_at = status, failure, None
    draft.pause_reason = ""
    draft.journal.ended(status, failure)
