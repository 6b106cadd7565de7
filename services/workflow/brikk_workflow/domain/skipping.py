"""How somebody has a step skipped that does not come to its end by itself."""

from __future__ import annotations

from brikk_workflow.domain.decision import SkipRequested
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.steps import proceed


def skip(draft: Draft, wish: SkipRequested) -> None:
    """Be done with a step under way, with the output that is given; its call is cancelled.

    A held execution stays held: it goes on from here once it is resumed.
    """
    step = draft.step(wish.step_id)
    if not step.status.under_way:
        return
    draft.withdraw(wish.step_id, step)
    draft.skip(wish.step_id, {"by": wish.by, "reason": wish.reason})
    if wish.output is not None:
        draft.accept(wish.step_id, wish.output)
    proceed(draft, draft.freed_by(wish.step_id))
