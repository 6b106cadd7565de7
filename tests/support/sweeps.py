"""Time that passes sweep by sweep."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from brikk_shared.testing import ManualClock

SECOND: Final = timedelta(seconds=1)


class SweepClock(ManualClock):
    """A clock that knows when the sweep rests: it alone sleeps for just under a second."""

    INTERVAL: Final = SECOND - timedelta(microseconds=1)
    """For the setting `sweep_interval`."""

    def __init__(self) -> None:
        super().__init__()
        self._resting = asyncio.Event()

    async def sleep(self, duration: timedelta) -> None:
        """Wait until the clock was moved far enough."""
        if duration == self.INTERVAL:
            self._resting.set()
        await super().sleep(duration)

    async def pass_seconds(self, seconds: int) -> None:
        """Let time pass at a pace at which a sweep takes place in each second."""
        for _ in range(seconds):
            await self._resting.wait()
            self._resting.clear()
            self.advance(SECOND)
        await self._resting.wait()
