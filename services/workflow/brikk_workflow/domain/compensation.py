"""How what an execution did is undone before it ends: the last first, each call once at a time."""

from __future__ import annotations

from collections.abc import Mapping

from brikk_workflow.domain.compiled import COMPENSATE, CompiledStep
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.endings import end
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.orders import render_call, undo_of
from brikk_workflow.domain.state import Closing, ExecutionStatus


def remember(draft: Draft, path: str, compiled: CompiledStep) -> None:
    """Keep the call that undoes a step which has succeeded: later its scope may be gone.

    Raises ExpressionFailed and PayloadRefused.
    """
    assert compiled.compensate is not None  # whoever remembers has looked
    call = render_call(compiled.compensate, draft.scope(path, compiled))
    draft.accept(undo_of(draft.undo), {"path": path, "call": call._asdict()})
    draft.undo += 1


def close(draft: Draft, status: ExecutionStatus, failure: Failure) -> None:
    """End an execution before its last step, after its compensations if it has any.

    These have the time anew that the workflow gives an execution, and no budget bounds them.
    """
    if not draft.undo:
        end(draft, status, failure)
        return
    if draft.closing is None:
        draft.cancel_inside("")
        draft.ready.clear()
        # Nobody holds any more what is about to end.
        draft.status, draft.held_at, draft.pause_reason = ExecutionStatus.RUNNING, None, ""
        draft.closing = Closing(status=status, failure=failure)
        draft.deadline = draft.clock + draft.workflow.definition.timeout
        draft.journal.compensating(status, failure)
    kept = draft.reading.output(undo_of(draft.undo - 1))
    assert isinstance(kept, Mapping)  # it was remembered
    draft.ready.append(f"{kept['path']}/{COMPENSATE}")


def undone(draft: Draft) -> None:
    """Go on to the compensation before the one that has ended, or to the end."""
    closing = draft.closing
    assert closing is not None  # or there was no compensation to end
    draft.undo -= 1
    draft.drop(undo_of(draft.undo))
    close(draft, closing.status, closing.failure)
