"""Who is told one after the other, until somebody acknowledges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from brikk_shared.calendar import zone_problem
from brikk_shared.errors import invalid_field

_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """Who is told at a level, and how long they have to acknowledge."""

    channels: tuple[str, ...]
    timeout: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Hours:
    """When people are told, by the clock on their wall.

    The end lies on the next day when it is not after the begin; the day is that of the begin.
    """

    days: frozenset[int] = frozenset()
    """1 for Monday to 7 for Sunday; all when empty."""
    begin_minute: int = 0
    end_minute: int = 0
    zone: str = "UTC"

    def contain(self, moment: datetime) -> bool:
        """Tell whether people are told."""
        local = moment.astimezone(ZoneInfo(self.zone))
        return any(
            begin <= moment < end for begin, end in (self._of(local, day) for day in (-1, 0)) if end
        )

    def next_begin(self, moment: datetime) -> datetime:
        """Return when people are told next, which is now within the hours."""
        if self.contain(moment):
            return moment
        local = moment.astimezone(ZoneInfo(self.zone))
        begins = (self._of(local, day) for day in range(9))
        return min(begin for begin, end in begins if end and begin > moment)

    def _of(self, local: datetime, day: int) -> tuple[datetime, datetime | None]:
        """Return begin and end of a day from today's; no end on a day without."""
        date = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0) + day * _DAY
        lasts = (self.end_minute - self.begin_minute) % 1440 or 1440
        begin = date + timedelta(minutes=self.begin_minute)
        end = begin + timedelta(minutes=lasts)
        open_today = not self.days or date.isoweekday() in self.days
        return begin.astimezone(UTC), end.astimezone(UTC) if open_today else None


@dataclass(frozen=True, kw_only=True, slots=True)
class EscalationPolicy:
    """What people say of a policy, and may change."""

    levels: tuple[Level, ...]
    loops: int = 0
    acknowledge_timeout: timedelta | None = None
    hours: Hours | None = None
    description: str = ""

    def check(self) -> None:
        """Make sure that its time zone is known.

        Raises:
            InvalidArgument: it is not.
        """
        problem = None if self.hours is None else zone_problem(self.hours.zone)
        if problem is not None:
            raise invalid_field("escalation_policy.hours.time_zone", problem)

    def opens(self, moment: datetime) -> datetime:
        """Return when people are told next, which may be now."""
        return moment if self.hours is None else self.hours.next_begin(moment)


@dataclass(frozen=True, kw_only=True, slots=True)
class Escalation:
    """How far a policy has got, by the levels that there were when it began."""

    policy: EscalationPolicy
    steps: int = 0
    """Levels told so far, those of all loops."""
    due_at: datetime | None = None
    """When the next level is told; None after the last one."""

    @property
    def level(self) -> int:
        """The level told last, from 1."""
        return (self.steps - 1) % len(self.policy.levels) + 1

    @property
    def told(self) -> tuple[Level, ...]:
        """The levels told so far."""
        return self.policy.levels[: self.steps]

    def stepped(self, now: datetime) -> Escalation:
        """Return it with the next level told."""
        levels = self.policy.levels
        steps = self.steps + 1
        timeout = levels[(steps - 1) % len(levels)].timeout
        last = steps == len(levels) * (self.policy.loops + 1)
        return replace(self, steps=steps, due_at=None if last else now + timeout)
