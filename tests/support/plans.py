"""Schedules of which a test says only what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from brikk_shared.calendar import Every
from brikk_workflow.domain.schedule import Counts, Overlap, Plan, Schedule

START = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = Plan(
    description="",
    workflow="workflows/report",
    input={},
    tick_input="",
    labels={},
    priority=5,
    timing=Every(interval=timedelta(minutes=1)),
    start=None,
    end=None,
    jitter=timedelta(0),
    overlap=Overlap.SKIP,
    catchup=timedelta(hours=1),
    max_runs=0,
)
"""Every minute, for ever."""


def make_schedule(plan: Plan = PLAN, *, position: datetime = START) -> Schedule:
    """A schedule of `acme` of which all is decided up to a moment."""
    made = Schedule(
        organization="acme",
        schedule_id="nightly",
        uid="u1",
        plan=plan,
        paused=False,
        reason="",
        revision=1,
        counts=Counts(),
        position=position,
        next_time=None,
        create_time=position,
        update_time=position,
    )
    return replace(made, next_time=made.first_due(position))
