"""Steps for which no agent is live: their executions are told as soon as one is."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta

from brikk_shared.clock import Clock
from brikk_workflow.clients.directory import AgentDirectory

BATCH = 100
"""Capabilities that are looked for at once."""


class WaitingRoom:
    """Wakes executions when an agent comes up, and looks itself now and then as well."""

    def __init__(self, directory: AgentDirectory, *, interval: timedelta, clock: Clock) -> None:
        self._directory = directory
        self._interval = interval
        self._clock = clock
        self._waiting: dict[tuple[str, str], dict[str, Callable[[], None]]] = {}
        self._keys: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)

    def enter(
        self, organization: str, capability: str, execution_id: str, wake: Callable[[], None]
    ) -> None:
        """Calls `wake` once an agent with the capability is live, perhaps before it returns.

        Whoever enters found nobody a moment ago: an agent that came up since would not be told of.
        """
        if self._directory.available(organization, capability):
            wake()
            return
        key = (organization, capability)
        self._waiting.setdefault(key, {})[execution_id] = wake
        self._keys[execution_id].add(key)

    def leave(self, execution_id: str) -> None:
        """Forgets an execution, and the capabilities that nobody else waits for."""
        for key in self._keys.pop(execution_id, ()):
            waiting = self._waiting[key]
            del waiting[execution_id]
            if not waiting:
                del self._waiting[key]

    def offered(self, organization: str, capability: str) -> None:
        """Wakes those who wait for a capability: somebody offers it now."""
        key = (organization, capability)
        waiting = self._waiting.pop(key, {})
        for execution_id in waiting:
            self._keys[execution_id].discard(key)
        for wake in waiting.values():
            wake()

    async def run(self) -> None:
        """Looks again for ever, for what nobody told; begun again, it goes on."""
        while True:
            await self._clock.sleep(self._interval)
            keys = list(self._waiting)
            for first in range(0, len(keys), BATCH):
                await asyncio.gather(*(self._look(*key) for key in keys[first : first + BATCH]))

    async def _look(self, organization: str, capability: str) -> None:
        if await self._directory.look(organization, capability):
            self.offered(organization, capability)
