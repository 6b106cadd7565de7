"""Time as a dependency, so that tests move it instead of waiting for it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What tells the time. `brikk_shared.testing.ManualClock` is the other one."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC. It may jump."""

    def monotonic(self) -> float:
        """Seconds since some moment. Never goes back; for measuring how long something took."""

    async def sleep(self, duration: timedelta) -> None:
        """Wait."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC. It may jump."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment. Never goes back."""
        return time.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        """Wait."""
        await asyncio.sleep(duration.total_seconds())
