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


_GRAIN = timedelta(milliseconds=1)
"""How exactly SQLite tells the time."""


class StoreClock:
    """Tells the time of a store, so that all who share the store agree, whatever their own clocks.

    It goes on by the monotonic clock from what it heard last, so it does not follow when somebody
    sets the clock of the machine; until it has heard, it goes on from the time of `clock`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._time, self._moment = clock.now(), clock.monotonic()

    def hear(self, time: datetime, *, asked: float) -> None:
        """Take in what the store told just now; `asked` is when it was asked, by `monotonic`.

        It told that at some time in between. What fits what we believe changes nothing: else the
        time would go back and forth with the load of the network.
        """
        answered = self.monotonic()
        moment, doubt = (asked + answered) / 2, timedelta(seconds=(answered - asked) / 2)
        if abs(time - self._at(moment)) > doubt + _GRAIN:
            self._time, self._moment = time, moment

    def now(self) -> datetime:
        """The time of day by the store, aware, in UTC. It may jump when the store is heard."""
        return self._at(self.monotonic())

    def monotonic(self) -> float:
        """Seconds since some moment. Never goes back."""
        return self._clock.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        """Wait."""
        await self._clock.sleep(duration)

    def _at(self, moment: float) -> datetime:
        return self._time + timedelta(seconds=moment - self._moment)
