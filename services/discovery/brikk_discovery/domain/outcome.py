"""What callers experienced with an agent: summed up, with the past weighing less and less."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

HALF_LIFE: Final = timedelta(minutes=1)
"""The time in which experience loses half its weight."""

# A slow call counts like so many: the mean must follow a peak at once, and leave it slowly.
_PEAK: Final = 4
_ENOUGH: Final = 5
_GOOD: Final = 0.9
_BAD: Final = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How calls to an agent at one capability went, as one caller tells it."""

    capability: str
    successes: int
    failures: int
    latency: timedelta | None = None
    """Mean latency; None when it does not know."""
    quality: float | None = None
    """Mean quality, 0 to 1; None when it does not judge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """How calls to an agent at one capability went of late, as all callers tell it."""

    calls: float
    """How many calls that rests on, weighed by age."""
    success_rate: float
    latency: timedelta
    quality: float

    @property
    def failing(self) -> int:
        """How badly it does, in steps coarse enough not to change with each call: 0, 1 or 2."""
        if self.calls < _ENOUGH or self.success_rate >= _GOOD:
            return 0
        return 1 if self.success_rate >= _BAD else 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """Experience of some moment, in a form that adds up, whoever had it."""

    calls: float = 0.0
    successes: float = 0.0
    latency: float = 0.0
    """Seconds."""
    quality: float = 0.0

    def decayed(self, age: timedelta) -> Sums:
        """Give what is left of it so much later; a clock that was set back makes it no younger."""
        left = 0.5 ** max(age / HALF_LIFE, 0.0)
        return Sums(
            calls=self.calls * left,
            successes=self.successes * left,
            latency=self.latency * left,
            quality=self.quality * left,
        )

    def plus(self, other: Sums) -> Sums:
        """Add experience of the same moment."""
        return Sums(
            calls=self.calls + other.calls,
            successes=self.successes + other.successes,
            latency=self.latency + other.latency,
            quality=self.quality + other.quality,
        )

    def of(self, outcome: Outcome) -> Sums:
        """Give what a report adds to these sums. What it does not tell is as it was before."""
        calls = outcome.successes + outcome.failures
        latency, quality = self._mean_latency, self._mean_quality
        if outcome.latency is not None:
            told = outcome.latency.total_seconds()
            weight = calls * (_PEAK if told > latency else 1)
            # The mean moves toward what is told; the sums carry what that takes.
            share = weight / (self.calls + weight)
            mean = latency + (told - latency) * share
            added = mean * (self.calls + calls) - self.latency
        else:
            added = latency * calls
        return Sums(
            calls=calls,
            successes=outcome.successes,
            latency=added,
            quality=calls * (quality if outcome.quality is None else outcome.quality),
        )

    def observation(self) -> Observation:
        """Tell it in means; at least a part of a call must be left."""
        return Observation(
            calls=self.calls,
            success_rate=self.successes / self.calls,
            latency=timedelta(seconds=self._mean_latency),
            quality=self._mean_quality,
        )

    @property
    def _mean_latency(self) -> float:
        return self.latency / self.calls if self.calls else 0.0

    @property
    def _mean_quality(self) -> float:
        return self.quality / self.calls if self.calls else 1.0
