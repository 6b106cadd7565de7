"""Steps for which no agent is live: looks again until one is, and tells their executions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import timedelta

from brikk_shared.clock import Clock


class WaitingRoom:
    """One question per capability and interval, however many executions wait for it."""

    def __init__(
        self,
        available: Callable[[str, str], Awaitable[bool]],
        *,
        interval: timedelta,
        clock: Clock,
    ) -> None:
        self._available = available
        self._interval = interval
        self._clock = clock
        self._waiting: defaultdict[tuple[str, str], dict[str, Callable[[], None]]] = defaultdict(
            dict
        )

    def enter(
        self, organization: str, capability: str, execution_id: str, wake: Callable[[], None]
    ) -> None:
        """Calls `wake` once an agent with the capability is live."""
        self._waiting[organization, capability][execution_id] = wake

    def leave(self, execution_id: str) -> None:
        """Forgets an execution, and the capabilities that nobody else waits for."""
        for key, waiting in list(self._waiting.items()):
            waiting.pop(execution_id, None)
            if not waiting:
                del self._waiting[key]

    async def run(self) -> None:
        """Looks again for ever; stateless, so a restart of the loop loses nothing."""
        while True:
            await self._clock.sleep(self._interval)
            for key in list(self._waiting):
                if await self._available(*key):
                    for wake in self._waiting.pop(key, {}).values():
                        wake()
