"""How somebody has a step skipped that does not come to its end by itself."""

from __future__ import annotations

from brikk_workflow.domain.decision import SkipRequested
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.steps import skip as skip_step


def skip(draft: Draft, wish: SkipRequested) -> None:
    """Be done with a step under way, with the output that is given; its calls are cancelled.

    A held execution stays held: it goes on from here once it is resumed.
    """
    if draft.step(wish.step_id).status.under_way:
        why = {"by": wish.by, "reason": wish.reason}
        skip_step(draft, wish.step_id, why, wish.output)
