"""Decides what becomes of the ticks of a schedule that are due. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from brikk_workflow.domain.schedule import Overlap, Schedule

MAX_WAITING = 1000
"""Most runs of one schedule that wait for their turn."""
MAX_TICKS = 100
"""Most ticks of one schedule that are decided at once; its next turn goes on."""


@dataclass(kw_only=True, slots=True)
class Queue:
    """What runs and waits of a schedule, and what its ticks add to that.

    `busy` tells whether a run has not ended. Only then do some wait: `waiting` in all, `ticks` of
    them from ticks. `cancel` asks for the end of what runs, `drop` for that of the ticks which
    waited before.
    """

    busy: bool
    waiting: int
    ticks: int
    start: list[datetime] = field(default_factory=list)
    wait: list[datetime] = field(default_factory=list)
    cancel: bool = False
    drop: bool = False

    def add(self, tick: datetime, overlap: Overlap) -> int:
        """Add a tick; returns how many are left out for it, itself or earlier ones."""
        if overlap is Overlap.ALLOW_ALL or not (self.busy or self.start):
            self.start.append(tick)
            return 0
        if overlap is Overlap.CANCEL_OTHER:
            return self._displace(tick)
        room = {Overlap.SKIP: 0, Overlap.BUFFER_ONE: 1}.get(overlap, MAX_WAITING)
        if self.waiting >= room:
            return 1
        self.wait.append(tick)
        self.waiting += 1
        self.ticks += 1
        return 0

    def _displace(self, tick: datetime) -> int:
        if not self.busy:
            left_out, self.start = len(self.start), [tick]
            return left_out
        self.cancel = self.drop = True
        left_out, self.wait = self.ticks, [tick]
        self.waiting += 1 - left_out
        self.ticks = 1
        return left_out


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What became of the ticks of a schedule that were due, and the schedule after that.

    It is `behind` when more are due than were decided.
    """

    schedule: Schedule
    queue: Queue
    skipped: int
    missed: int
    behind: bool


def decide_ticks(schedule: Schedule, queue: Queue, now: datetime) -> Turn:
    """Decide the ticks that are due, oldest first."""
    plan, counts, position = schedule.plan, schedule.counts, schedule.position
    skipped = missed = 0
    for tick, due in _due(schedule, now):
        if 0 < plan.max_runs <= counts.runs:
            break
        position = tick
        if now - due > plan.catchup:
            missed += 1
            continue
        left_out = queue.add(tick, plan.overlap)
        skipped += left_out
        counts = replace(counts, runs=counts.runs + 1 - left_out)
    counts = replace(counts, skipped=counts.skipped + skipped, missed=counts.missed + missed)
    decided = replace(schedule, counts=counts, position=position)
    next_time = decided.first_due(position)
    return Turn(
        schedule=replace(decided, next_time=next_time),
        queue=queue,
        skipped=skipped,
        missed=missed,
        behind=next_time is not None and next_time <= now,
    )


def _due(schedule: Schedule, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    if schedule.paused:
        return
    for number, (tick, due) in enumerate(schedule.upcoming(schedule.position)):
        if due > now or number == MAX_TICKS:
            return
        yield tick, due
