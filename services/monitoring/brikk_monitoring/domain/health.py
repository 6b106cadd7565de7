"""How a service is, by what it reported of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from brikk_monitoring.domain.measurement import Sums
from brikk_monitoring.domain.question import success_ratio

CPU_PERCENT: Final = "process.cpu_percent"
MEMORY_MIB: Final = "process.memory_mib"
OPEN_FILES: Final = "process.open_files"
LOOP_LAG_MS: Final = "process.loop_lag_ms"
CALLS_MS: Final = "api.calls_ms"
DEPENDENCIES: Final[Mapping[str, str]] = {
    "database": "database.ping_ms",
    "redis": "redis.ping_ms",
}
"""What services need, and the metric of asking it."""

REPORTED: Final = (
    *(CPU_PERCENT, MEMORY_MIB, OPEN_FILES, LOOP_LAG_MS, CALLS_MS),
    *DEPENDENCIES.values(),
)

_SILENCE: Final = timedelta(minutes=2)
_LAG_MS: Final = 250.0


class Health(IntEnum):
    """How a service is; the higher, the worse."""

    HEALTHY = 1
    DEGRADED = 2
    SILENT = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Vitals:
    """What a service reported by metric, and the end of the last minute in which it did."""

    reported: Mapping[str, Sums]
    heard: datetime

    def health(self, now: datetime) -> Health:
        """Judge it."""
        if now - self.heard > _SILENCE:
            return Health.SILENT
        needs = [self.reported[metric] for metric in DEPENDENCIES.values()]
        if any(each.measured and success_ratio(each) < 1 for each in needs):
            return Health.DEGRADED
        lags = self.reported[LOOP_LAG_MS].quantile(990) > _LAG_MS
        return Health.DEGRADED if lags else Health.HEALTHY
