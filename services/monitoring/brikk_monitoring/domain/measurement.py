"""What is counted: series, what an event adds to them, and the sums that come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from brikk_monitoring.domain import histogram

EXECUTIONS: Final = "executions"
STEPS: Final = "steps"
AGENT_PREFIX: Final = "agents/"
"""The series of an agent's calls is the agent's name, which begins with this."""

OTHER_AGENTS: Final = "agents/-"
"""The series of all agents beyond an organisation's cap. No agent can have this name."""


class Status(StrEnum):
    """What became of an execution, a step or a call. The values are fields of the buckets."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    RETRIED = "retried"


_TOTAL: Final = "total"

Bucket = dict[str, int]
"""What a series counted in a minute: a field per status, a field per histogram bin, named by its
number, and `total`, the sum of the durations in whole microseconds, so that no order of adding
changes it.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What one event adds to one series: one more of a status, timed or not."""

    series: str
    status: Status
    duration_ms: float | None = None

    def add_to(self, bucket: Bucket) -> None:
        """Count it."""
        bucket[self.status] = bucket.get(self.status, 0) + 1
        if self.duration_ms is not None:
            duration_ms = histogram.clamp(self.duration_ms)
            index = str(histogram.bin_of(duration_ms))
            bucket[index] = bucket.get(index, 0) + 1
            bucket[_TOTAL] = bucket.get(_TOTAL, 0) + round(duration_ms * 1000)


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

    _counts: dict[str, int] = field(default_factory=dict)
    _bins: dict[int, int] = field(default_factory=dict)
    _total: int = 0

    def merge(self, bucket: Mapping[str, str]) -> None:
        """Add a bucket as the store keeps it."""
        for name, value in bucket.items():
            if name == _TOTAL:
                self._total += int(value)
            elif name.isalpha():
                self._counts[name] = self._counts.get(name, 0) + int(value)
            else:
                index = int(name)
                self._bins[index] = self._bins.get(index, 0) + int(value)

    def of(self, status: Status) -> int:
        """Return how many had this status."""
        return self._counts.get(status, 0)

    def latency(self) -> Latency:
        """Return the mean, and the quantiles with at most the histogram's error."""
        count = sum(self._bins.values())
        return Latency(
            count=count,
            mean_ms=self._total / count / 1000 if count else 0.0,
            p50_ms=histogram.quantile(self._bins, 500),
            p95_ms=histogram.quantile(self._bins, 950),
            p99_ms=histogram.quantile(self._bins, 990),
        )


def share(part: int, whole: int) -> float:
    """Return the part's share of the whole; 0 of nothing."""
    return part / whole if whole else 0.0
