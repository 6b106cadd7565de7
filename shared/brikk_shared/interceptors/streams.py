"""The streams under way. They may last for hours, so a drain ends them: clients go elsewhere.

A stream lasts no longer than the token that it was called with: a caller that is no longer trusted
must not be told on and on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from brikk_shared.clock import Clock
from brikk_shared.errors import BrikkError, Reason, Unauthenticated, Unavailable


class Streams:
    """Streams that are ended together, and each when its caller's token expires."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timers: dict[asyncio.Task[object], asyncio.Task[None] | None] = {}
        self._ended: dict[asyncio.Task[object], BrikkError] = {}

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count the current task in; what its stream is ended for is raised.

        Raises:
            Unavailable: SHUTTING_DOWN.
            Unauthenticated: TOKEN_INVALID, the caller's token expired.
        """
        task = asyncio.current_task()
        assert task is not None
        self._timers[task] = None
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._ended:
                raise
            task.uncancel()
            raise self._ended[task] from None
        finally:
            if (timer := self._timers.pop(task)) is not None:
                timer.cancel()
            self._ended.pop(task, None)

    def expire(self, time: datetime) -> None:
        """End the current task's stream when its caller's token expires."""
        task = asyncio.current_task()
        assert task is not None
        self._timers[task] = asyncio.create_task(self._expire(task, time))

    def end(self) -> None:
        """End the streams under way."""
        for task in self._timers:
            self._end(task, Unavailable(Reason.SHUTTING_DOWN, "the server is shutting down"))

    async def _expire(self, task: asyncio.Task[object], time: datetime) -> None:
        await self._clock.sleep(time - self._clock.now())
        self._end(task, Unauthenticated(Reason.TOKEN_INVALID, "the bearer token has expired"))

    def _end(self, task: asyncio.Task[object], error: BrikkError) -> None:
        if task not in self._ended:
            self._ended[task] = error
            task.cancel()
