"""Tells watchers and waiters in this process that an execution moved."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta


class Changes:
    """Wakes whoever waits for an execution; what happened is read from the store."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def notify(self, execution_id: str) -> None:
        """Wakes all who wait for the execution now."""
        for event in self._waiting.get(execution_id, ()):
            event.set()

    def subscribe(self, execution_id: str) -> Subscription:
        """Begins to listen; what happens from now on is not missed."""
        return Subscription(self._waiting, execution_id)


class Subscription:
    """Listens to one execution while the `with` block runs."""

    def __init__(self, waiting: defaultdict[str, set[asyncio.Event]], execution_id: str) -> None:
        self._waiting = waiting
        self._execution_id = execution_id
        self._event = asyncio.Event()

    def __enter__(self) -> Subscription:
        self._waiting[self._execution_id].add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        listeners = self._waiting[self._execution_id]
        listeners.discard(self._event)
        if not listeners:
            del self._waiting[self._execution_id]

    async def changed(self, timeout: timedelta) -> None:
        """Returns when the execution has moved since the last return, or after the timeout."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await self._event.wait()
        except TimeoutError:
            return
        self._event.clear()
