"""What is counted: what an event adds to its series, and the sums that come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from brikk_monitoring.domain import histogram
from brikk_shared.errors import Reason


class Status(StrEnum):
    """What became of an execution, a step, a call, an agent; the values are fields of buckets."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    RETRIED = "retried"
    REGISTERED = "registered"
    DEREGISTERED = "deregistered"
    EXPIRED = "expired"
    DRAINING = "draining"
    MAINTENANCE = "maintenance"
    RESUMED = "resumed"
    OBSERVED = "observed"
    """It was only measured."""


_TOTAL: Final = "total"
_TOKENS: Final = "tokens"
_COST: Final = "cost"
_ATTEMPTS: Final = "attempts"
_ERROR: Final = "error."
_OTHER_ERROR: Final = "OTHER"
_MOST: Final = 10**12
"""Of what one event may add, so that no sum leaves the whole numbers of the store."""

_STATUSES: Final = frozenset(Status)
_REASONS: Final = frozenset(Reason)

Bucket = dict[str, int]
"""What a series counted in a bucket of time, field by field.

A field per status; `error.<REASON>` per reason of a failure; a field per histogram bin, named by
its number; `total`, the sum of the values in whole thousandths, so that no order of adding changes
it; `attempts`, `tokens`, and `cost` in millionths of the currency.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What one event adds to each of some series."""

    series: tuple[str, ...]
    status: Status
    value: float | None = None
    """Of durations the milliseconds; None when nothing was measured."""
    reason: str = ""
    """Why it failed."""
    attempts: int = 0
    tokens: int = 0
    cost_micros: int = 0
    count: int = 1
    """How often it happened like this."""

    def add_to(self, bucket: Bucket) -> None:
        """Count it."""
        count = self.count
        bucket[self.status] = bucket.get(self.status, 0) + count
        if self.value is not None:
            value = histogram.clamp(self.value)
            index = str(histogram.bin_of(value))
            bucket[index] = bucket.get(index, 0) + count
            bucket[_TOTAL] = bucket.get(_TOTAL, 0) + round(value * 1000) * count
        if self.reason:
            name = _ERROR + (self.reason if self.reason in _REASONS else _OTHER_ERROR)
            bucket[name] = bucket.get(name, 0) + count
        for name, number in (
            (_ATTEMPTS, self.attempts),
            (_TOKENS, self.tokens),
            (_COST, self.cost_micros),
        ):
            if number:
                bucket[name] = bucket.get(name, 0) + min(number, _MOST)


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """How many were timed and, in milliseconds, how long they took; all 0 when none was."""

    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(slots=True)
class Sums:
    """The buckets of one series over a window, merged."""

    counts: dict[str, int] = field(default_factory=dict)
    """By status."""
    errors: dict[str, int] = field(default_factory=dict)
    """By reason."""
    bins: dict[int, int] = field(default_factory=dict)
    """Of the histogram."""
    amounts: dict[str, int] = field(default_factory=dict)

    def merge(self, bucket: Mapping[str, str]) -> None:
        """Add a bucket as the store keeps it."""
        for name, value in bucket.items():
            if name in _STATUSES:
                self.counts[name] = self.counts.get(name, 0) + int(value)
            elif name.startswith(_ERROR):
                reason = name.removeprefix(_ERROR)
                self.errors[reason] = self.errors.get(reason, 0) + int(value)
            elif name.isalpha():
                self.amounts[name] = self.amounts.get(name, 0) + int(value)
            else:
                index = int(name)
                self.bins[index] = self.bins.get(index, 0) + int(value)

    def of(self, status: Status) -> int:
        """Return how many had this status."""
        return self.counts.get(status, 0)

    @property
    def count(self) -> int:
        """How many there were of any status."""
        return sum(self.counts.values())

    @property
    def measured(self) -> int:
        """How many of them have a value."""
        return sum(self.bins.values())

    @property
    def total(self) -> float:
        """The sum of the values."""
        return self.amounts.get(_TOTAL, 0) / 1000

    @property
    def attempts(self) -> int:
        """Attempts that the steps took."""
        return self.amounts.get(_ATTEMPTS, 0)

    @property
    def tokens(self) -> int:
        """Tokens that the calls used."""
        return self.amounts.get(_TOKENS, 0)

    @property
    def cost_micros(self) -> int:
        """What the calls cost, in millionths of the currency."""
        return self.amounts.get(_COST, 0)

    def quantile(self, per_mille: int) -> float:
        """Return what so many of a thousand values did not exceed; 0 when there is none."""
        return histogram.quantile(self.bins, per_mille)

    def latency(self) -> Latency:
        """Return the mean, and the quantiles with at most the histogram's error."""
        count = self.measured
        return Latency(
            count=count,
            mean_ms=self.total / count if count else 0.0,
            p50_ms=self.quantile(500),
            p95_ms=self.quantile(950),
            p99_ms=self.quantile(990),
        )


def share(part: int, whole: int) -> float:
    """Return the part's share of the whole; 0 of nothing."""
    return part / whole if whole else 0.0
