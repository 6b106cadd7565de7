"""Wake-ups of the executions held in memory: one task sleeps until the earliest."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime

from brikk_shared.clock import Clock

STALE_KEPT = 64
"""Wake-ups replaced or dropped that are remembered beside as many as are set."""


class Timers:
    """At most one wake-up per execution; setting another replaces it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[str, tuple[datetime, Callable[[], None]]] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._earlier = asyncio.Event()

    def set(self, execution_id: str, when: datetime, wake: Callable[[], None]) -> None:
        """Calls `wake` once `when` has come."""
        current = self._due.get(execution_id)
        self._due[execution_id] = (when, wake)
        if current is None or current[0] != when:
            heapq.heappush(self._heap, (when, execution_id))
            self._forget_stale()
            if self._heap[0] == (when, execution_id):
                self._earlier.set()

    def drop(self, execution_id: str) -> None:
        """Forgets the wake-up of an execution."""
        self._due.pop(execution_id, None)

    def _forget_stale(self) -> None:
        """Keeps what ended long before its time from filling the memory until then."""
        if len(self._heap) > 2 * len(self._due) + STALE_KEPT:
            self._heap = [(when, each) for each, (when, _) in self._due.items()]
            heapq.heapify(self._heap)

    async def run(self) -> None:
        """Fires what is due, for ever."""
        while True:
            self._earlier.clear()
            self._fire()
            await self._sleep()

    def _fire(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            when, execution_id = heapq.heappop(self._heap)
            due = self._due.get(execution_id)
            if due is not None and due[0] == when:
                del self._due[execution_id]
                due[1]()

    async def _sleep(self) -> None:
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(self._earlier.wait())]
        if self._heap:
            remaining = self._heap[0][0] - self._clock.now()
            waits.append(asyncio.ensure_future(self._clock.sleep(remaining)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
