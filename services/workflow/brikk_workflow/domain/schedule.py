"""What a schedule is, and when its ticks are due."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from itertools import islice, takewhile

from brikk_shared.calendar import EPOCH, Timing
from brikk_workflow.domain.payload import Json

LAST_YEAR = 2199
"""No start or end of a schedule is later: a year beyond may not be a time any more."""
_MICROSECOND = timedelta(microseconds=1)


class Overlap(StrEnum):
    """What becomes of a run while an earlier one has not ended; see the contract."""

    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    BUFFER_ALL = "buffer_all"
    CANCEL_OTHER = "cancel_other"
    ALLOW_ALL = "allow_all"


class ScheduleState(StrEnum):
    """Whether a schedule has ticks to come."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"


class Cause(StrEnum):
    """What a run came from."""

    TICK = "tick"
    TRIGGER = "trigger"
    BACKFILL = "backfill"


class RunState(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"
    PENDING = "pending"
    STARTED = "started"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What people write: what starts, when, and what happens when runs overlap.

    `workflow` is the name of a workflow or of one of its versions. `start` and `end` bound the
    ticks: none is before the one, each is before the other. `max_runs` is 0 for any number. With
    `pause_on_failure` the schedule is paused instead of starting anything after a run that failed.
    """

    description: str
    workflow: str
    input: Mapping[str, Json]
    tick_input: str
    labels: Mapping[str, str]
    priority: int
    timing: Timing
    start: datetime | None
    end: datetime | None
    jitter: timedelta
    overlap: Overlap
    catchup: timedelta
    max_runs: int
    pause_on_failure: bool = False

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """Yield the ticks later than a moment, in order."""
        if self.start is not None:
            after = max(after, self.start - _MICROSECOND)
        ticks = self.timing.ticks(after)
        end = self.end
        return ticks if end is None else takewhile(lambda tick: tick < end, ticks)

    def same_ticks(self, other: Plan) -> bool:
        """Tell whether another plan ticks at the same moments."""
        return (self.timing, self.start, self.end) == (other.timing, other.start, other.end)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What became of ticks; `failed` also counts runs of triggers and backfills."""

    runs: int = 0
    skipped: int = 0
    missed: int = 0
    failed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A schedule as it stands.

    `uid` is its own and no other's, also after it was deleted and made again. All ticks up to
    `position` are decided; `next_time` is when the next one is due, None when none will be.
    """

    organization: str
    schedule_id: str
    uid: str
    plan: Plan
    paused: bool
    reason: str
    revision: int
    counts: Counts
    position: datetime
    next_time: datetime | None
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        """Changes with whatever people change, and not with ticks."""
        return f"r{self.revision}"

    @property
    def state(self) -> ScheduleState:
        """Whether it has ticks to come."""
        if self.paused:
            return ScheduleState.PAUSED
        return ScheduleState.ENDED if self.next_time is None else ScheduleState.ACTIVE

    def upcoming(self, position: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the ticks after a position, each with the moment at which it is due."""
        ticks = self.plan.ticks(position)
        tick = next(ticks, None)
        while tick is not None:
            following = next(ticks, None)
            yield tick, tick + self._delay(tick, following)
            tick = following

    def first_due(self, position: datetime) -> datetime | None:
        """Return when the first tick after a position is due; None when there is none."""
        used_up = 0 < self.plan.max_runs <= self.counts.runs
        if self.paused or used_up:
            return None
        _, due = next(self.upcoming(position), (None, None))
        return due

    def coming(self, count: int) -> list[datetime]:
        """Return the next ticks, at most so many; none unless it is active."""
        if self.state is not ScheduleState.ACTIVE:
            return []
        if self.plan.max_runs:
            count = min(count, self.plan.max_runs - self.counts.runs)
        return list(islice(self.plan.ticks(self.position), count))

    def revised(self, now: datetime) -> Schedule:
        """Return it as changed just now, with the tick that comes next."""
        return replace(
            self,
            revision=self.revision + 1,
            update_time=now,
            next_time=self.first_due(self.position),
        )

    def halted(self, reason: str, dropped: int, now: datetime) -> Schedule:
        """Return it as paused just now, so many ticks left out that waited for their turn."""
        counts = replace(
            self.counts, runs=self.counts.runs - dropped, skipped=self.counts.skipped + dropped
        )
        return replace(self, paused=True, reason=reason, counts=counts).revised(now)

    def input_at(self, tick: datetime) -> Mapping[str, Json]:
        """Return what the run of a tick is started with."""
        if not self.plan.tick_input:
            return self.plan.input
        written = tick.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return {**self.plan.input, self.plan.tick_input: written}

    def _delay(self, tick: datetime, following: datetime | None) -> timedelta:
        """Return by how much a tick starts later: the same for all who ask, and in order."""
        jitter = self.plan.jitter
        if not jitter:
            return jitter
        name = f"{self.uid}/{(tick - EPOCH) // _MICROSECOND}".encode()
        fraction = int.from_bytes(blake2b(name, digest_size=6).digest(), "big") / 2**48
        return fraction * (jitter if following is None else min(jitter, following - tick))


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleRun:
    """An execution that a schedule started or is to start.

    `key` is the request id of the execution, so that it starts once whoever tries, and how often.
    """

    key: str
    cause: Cause
    tick: datetime
    state: RunState
    execution_id: str = ""
    error: str = ""


def make_run(
    schedule: Schedule, cause: Cause, tick: datetime, state: RunState, *, request_id: str = ""
) -> ScheduleRun:
    """Return the run of a tick; triggers and backfills are told apart by their request ids."""
    moment = (tick - EPOCH) // _MICROSECOND
    name = request_id if cause is Cause.TRIGGER else f"{request_id}/{moment}".removeprefix("/")
    return ScheduleRun(
        key=f"schedule/{schedule.uid}/{cause}/{name}", cause=cause, tick=tick, state=state
    )
