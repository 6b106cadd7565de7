"""How an execution waits for a place, is paused or suspended, and goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from brikk_workflow.domain.compiled import CompiledWait
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.state import ExecutionStatus, StepStatus
from brikk_workflow.domain.steps import enter, go_on, order, proceed


def queue(draft: Draft) -> None:
    """Let an execution that was just accepted wait for a place."""
    draft.status, draft.admitted = ExecutionStatus.QUEUED, False
    draft.journal.queued()


def admit(draft: Draft) -> None:
    """Give an execution its place; a held one takes it when it is resumed."""
    if draft.admitted:
        return
    draft.admitted = True
    draft.journal.admitted()
    if draft.status is ExecutionStatus.QUEUED:
        draft.status = ExecutionStatus.RUNNING
        enter(draft)


def pause(draft: Draft, reason: str) -> None:
    """Make no further call; what stands still already is left as it is."""
    if draft.status in (ExecutionStatus.RUNNING, ExecutionStatus.QUEUED):
        draft.status, draft.held_at = ExecutionStatus.PAUSED, draft.now
        draft.pause_reason = reason
        draft.journal.paused(reason)


def suspend(draft: Draft, failure: Failure) -> None:
    """Stand still until somebody decides, for the first reason that was given.

    It touches nothing that a defect may have spoilt, so that it cannot fail itself.
    """
    if draft.status is not ExecutionStatus.QUARANTINED:
        draft.status = ExecutionStatus.QUARANTINED
        draft.failure, draft.held_at = failure, draft.clock
        draft.pause_reason = ""
        draft.journal.quarantined(failure)


def resume(draft: Draft) -> None:
    """Go on where the execution was held: its clocks take up where they stood still."""
    if draft.held_at is None:
        return
    length = draft.now - draft.held_at
    if draft.status is ExecutionStatus.QUARANTINED:
        draft.deadline += length
    draft.status = ExecutionStatus.RUNNING if draft.admitted else ExecutionStatus.QUEUED
    draft.failure = draft.held_at = None
    draft.pause_reason = ""
    draft.journal.resumed(length)
    for step_id, step in draft.under_way():
        draft.steps[step_id] = replace(
            step,
            attempt_at=_later(step.attempt_at, length),
            due_at=step.due_at if _by_the_clock(draft, step_id) else _later(step.due_at, length),
            close_by=_later(step.close_by, length),
        )
    for step_id, step in draft.under_way(StepStatus.UNKNOWN):
        # Somebody looked, for as long as that took: its schedule_to_close begins anew.
        order(draft, step_id, replace(step, close_by=None), step.attempt, draft.now)
        proceed(draft)
    go_on(draft)


def _by_the_clock(draft: Draft, path: str) -> bool:
    """Tell whether a step waits for a time that does not move, however long it is held."""
    work = draft.workflow.at(path).work
    return isinstance(work, CompiledWait) and work.kind.duration is None


def _later(time: datetime | None, length: timedelta) -> datetime | None:
    return None if time is None else time + length
