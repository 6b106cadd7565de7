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


class Stream:
    """One stream, which is ended between two messages: gRPC takes no status while it sends one."""

    __slots__ = ("_cancelled", "_error", "_sending", "_task", "timer")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self._task = task
        self._error: BrikkError | None = None
        self._sending = False
        self._cancelled = False
        self.timer: asyncio.Task[None] | None = None

    def sending(self) -> None:
        """A message is about to be sent."""
        self._sending = True

    def sent(self) -> None:
        """A message was sent. Raises what the stream was ended for meanwhile."""
        self._sending = False
        if self._error is not None:
            raise self._error

    def end(self, error: BrikkError) -> None:
        """End it with an error, at once or when the message is sent."""
        if self._error is None:
            self._error = error
            if not self._sending:
                self._cancelled = True
                self._task.cancel()

    def ended(self) -> BrikkError | None:
        """Give what its task was cancelled for, unless its client did it."""
        return self._error if self._cancelled else None


class Streams:
    """Streams that are ended together, and each when its caller's token expires."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way: dict[asyncio.Task[object], Stream] = {}

    @contextmanager
    def under_way(self) -> Iterator[Stream]:
        """Count the current task in; what its stream is ended for is raised.

        Raises:
            Unavailable: SHUTTING_DOWN.
            Unauthenticated: TOKEN_INVALID, the caller's token expired.
        """
        task = asyncio.current_task()
        assert task is not None
        stream = self._under_way[task] = Stream(task)
        try:
            yield stream
        except asyncio.CancelledError:
            if (error := stream.ended()) is None:
                raise
            task.uncancel()
            raise error from None
        finally:
            del self._under_way[task]
            if stream.timer is not None:
                stream.timer.cancel()

    def expire(self, time: datetime) -> None:
        """End the current task's stream when its caller's token expires."""
        task = asyncio.current_task()
        assert task is not None
        stream = self._under_way[task]
        stream.timer = asyncio.create_task(self._expire(stream, time))

    def end(self) -> None:
        """End the streams under way."""
        for stream in self._under_way.values():
            stream.end(Unavailable(Reason.SHUTTING_DOWN, "the server is shutting down"))

    async def _expire(self, stream: Stream, time: datetime) -> None:
        await self._clock.sleep(time - self._clock.now())
        stream.end(Unauthenticated(Reason.TOKEN_INVALID, "the bearer token has expired"))
