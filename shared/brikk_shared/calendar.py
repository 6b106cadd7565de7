"""When schedules tick: by the calendar of a time zone, or at equal intervals.

A local time that a change of clocks leaves out ticks at the moment after the gap, with all others
of the gap; one that comes twice ticks the first time only. Where the hour is `*`, local times do
not matter: such an expression ticks by elapsed time, in each hour that there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from typing import TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
_FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day of month": "1 to 31, L or LW",
    "month": "1 to 12 or JAN to DEC",
    "day of week": "0 to 7 or SUN to SAT, MON#2 or 5L",
}
_ANY = "*"
_SOMEWHERE = datetime(2000, 1, 1)  # noqa: DTZ001 - local times have no zone


@dataclass(frozen=True, kw_only=True, slots=True)
class Cron:
    """Ticks whenever the local time of a zone matches five fields; made by `read_cron`."""

    expression: str
    zone: str

    def after(self, moment: datetime) -> datetime | None:
        """Return the first tick later than a moment; None when none comes within fifty years."""
        return next(self.ticks(moment), None)

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """Yield the ticks later than a moment, each once and in order."""
        zone = ZoneInfo(self.zone)
        local = after.astimezone(zone)
        if self.expression.split()[1] == _ANY:
            yield from (tick.astimezone(UTC) for tick in CronSim(self.expression, local))
            return
        last = after
        for time in CronSim(self.expression, local.replace(tzinfo=None, fold=0)):
            tick = _first_moment(time, zone)
            if tick > last:
                yield tick
                last = tick


@dataclass(frozen=True, kw_only=True, slots=True)
class Every:
    """Ticks at its anchor and whenever a whole number of intervals lies between."""

    interval: timedelta
    anchor: datetime = EPOCH

    def after(self, moment: datetime) -> datetime | None:
        """Return the first tick later than a moment."""
        return next(self.ticks(moment))

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """Yield the ticks later than a moment."""
        number = (after - self.anchor) // self.interval
        while True:
            number += 1
            yield self.anchor + number * self.interval


Timing: TypeAlias = Cron | Every


def read_cron(expression: str, zone: str) -> Cron:
    """Return what ticks by an expression; ValueError says what is wrong with it, and where."""
    fields = list(re.finditer(r"\S+", expression))
    if len(fields) != len(_FIELDS):
        raise ValueError(f"has {len(fields)} fields and needs {len(_FIELDS)}: {', '.join(_FIELDS)}")
    for place, (field, (name, known)) in enumerate(zip(fields, _FIELDS.items(), strict=True)):
        alone = [_ANY] * len(_FIELDS)
        alone[place] = field[0]
        if not _readable(" ".join(alone)):
            raise ValueError(
                f"at character {field.start() + 1}: `{field[0]}` is no {name}: write {_ANY}, "
                f"{known}, ranges a-b, steps */n or lists of these"
            )
    cron = Cron(expression=" ".join(field[0] for field in fields), zone="UTC")
    if not _readable(cron.expression) or cron.after(EPOCH) is None:
        raise ValueError("never ticks: no month that it names has such a day")
    return cron if zone == "UTC" else Cron(expression=cron.expression, zone=zone)


def zone_problem(name: str) -> str | None:
    """Return what is wrong with the name of a time zone, None when it is known."""
    if name in _zones():
        return None
    close = get_close_matches(name, _zones(), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"is no time zone of the IANA database, for instance Europe/Berlin{hint}"


@cache
def _zones() -> frozenset[str]:
    # What a machine calls its own is not the same on each replica.
    return frozenset(available_timezones() - {"localtime", "Factory"})


def _readable(expression: str) -> bool:
    try:
        CronSim(expression, _SOMEWHERE)
    except CronSimError:
        return False
    return True


def _first_moment(time: datetime, zone: ZoneInfo) -> datetime:
    """Return when a local time comes first; for one that does not come, the end of the gap."""
    while not _exists(time, zone):
        time += MINUTE
    return time.replace(tzinfo=zone).astimezone(UTC)


def _exists(time: datetime, zone: ZoneInfo) -> bool:
    aware = time.replace(tzinfo=zone)
    return aware.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) == time
