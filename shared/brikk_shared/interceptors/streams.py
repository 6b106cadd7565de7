"""The streams under way. They may last for hours, so a drain ends them: clients go elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from brikk_shared.errors import Reason, Unavailable


class Streams:
    """Streams that are ended together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self._ended: set[asyncio.Task[object]] = set()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count the current task in; Unavailable with SHUTTING_DOWN once the streams are ended."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._ended:
                raise
            task.uncancel()
            raise Unavailable(Reason.SHUTTING_DOWN, "the server is shutting down") from None
        finally:
            self._tasks.discard(task)
            self._ended.discard(task)

    def end(self) -> None:
        """End the streams under way."""
        for task in self._tasks - self._ended:
            self._ended.add(task)
            task.cancel()
