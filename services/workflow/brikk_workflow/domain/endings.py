"""How an execution ends: with its output, or before its last step."""

from __future__ import annotations

from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionStatus


def finish(draft: Draft, output: Json) -> None:
    """End an execution that has succeeded; what still runs is cancelled."""
    draft.cancel_inside("")
    draft.output = output
    _close(draft, ExecutionStatus.SUCCEEDED, None)


def end(draft: Draft, status: ExecutionStatus, failure: Failure) -> None:
    """End an execution before its last step.

    Steps that were never begun are not recorded: nobody has heard of them.
    """
    draft.cancel_inside("")
    _close(draft, status, failure)


def _close(draft: Draft, status: ExecutionStatus, failure: Failure | None) -> None:
    draft.status, draft.failure, draft.held_at = status, failure, None
    draft.pause_reason = ""
    draft.closing = None
    draft.journal.ended(status, failure)
