"""Whether an agent answers when it is asked, and whether it comes and goes too often."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from brikk_discovery.domain.agent import Doubt
from brikk_discovery.domain.memory import Memory

_FAILURES_DOWN: Final = 3
_SUCCESSES_UP: Final = 2

_HALF_LIFE: Final = timedelta(minutes=1)
# An agent that falls silent and returns as fast as that is noticed (within half a minute) passes
# the ceiling at the sixth time; one that expires each time, at the third.
_CEILING: Final = 3.0
FLOOR: Final = 1.0
"""What a penalty must be above, so that an agent may be flapping at all."""
# So that even the worst is trusted again within three minutes in which it stayed.
_MOST: Final = 6.0
_FORGOTTEN: Final = 5 * _HALF_LIFE


class Verdict(StrEnum):
    """What probes have shown of an agent."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """What probes have shown so far. One answer, or one missing, proves nothing."""

    verdict: Verdict = Verdict.UNKNOWN
    streak: int = 0
    """The last results that were alike: so many answers, or, negative, so many failures."""

    def after(self, *, answered: bool) -> Health:
        """Take in one more result: three failures in a row are down, two answers in a row up."""
        if answered:
            streak = min(max(self.streak, 0) + 1, _SUCCESSES_UP)
            verdict = Verdict.UP if streak == _SUCCESSES_UP else self.verdict
        else:
            streak = max(min(self.streak, 0) - 1, -_FAILURES_DOWN)
            verdict = Verdict.DOWN if streak == -_FAILURES_DOWN else self.verdict
        return Health(verdict=verdict, streak=streak)

    @property
    def open(self) -> bool:
        """Whether probes must go on: nothing is known, the last one failed, or it is down."""
        return self.verdict is Verdict.DOWN or self.streak < 0 or self == _UNASKED


_UNASKED: Final = Health()


def doubt_of(*, silent: bool, verdict: Verdict, flapping: bool) -> Doubt:
    """Say why an agent is suspect: of several reasons the one that weighs most."""
    if silent:
        return Doubt.SILENT
    if verdict is Verdict.DOWN:
        return Doubt.UNREACHABLE
    return Doubt.FLAPPING if flapping else Doubt.NONE


def penalised(memory: Memory, now: datetime) -> Memory:
    """Remember that an agent went down once more."""
    return replace(memory, penalty=min(_penalty(memory, now) + 1, _MOST), penalty_time=now)


def flaps(memory: Memory, now: datetime, *, already: bool) -> bool:
    """Whether an agent comes and goes too often.

    Damped as routes are (RFC 2439): suspect above a ceiling, until the penalty, which halves every
    minute, is below a floor.
    """
    return _penalty(memory, now) > (FLOOR if already else _CEILING)


def forgiven_before(now: datetime) -> datetime:
    """The time at which, or before which, an agent's last penalty must lie to count no more."""
    return now - _FORGOTTEN


def _penalty(memory: Memory, now: datetime) -> float:
    if memory.penalty_time is None:
        return 0.0
    passed = max(now - memory.penalty_time, timedelta(0))
    return memory.penalty * math.exp2(-(passed / _HALF_LIFE))
