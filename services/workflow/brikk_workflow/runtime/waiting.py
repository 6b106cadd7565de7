"""Steps for which no agent is live: their executions are told as soon as one is."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta

from brikk_shared.clock import Clock
from brikk_workflow.clients.directory import AgentDirectory
from brikk_workflow.domain.asking import read_ask

BATCH = 100
"""Things waited for that are looked for at once."""


class WaitingRoom:
    """Wakes executions when an agent comes up, and looks itself now and then as well.

    What they wait for is `asked` as `domain.asking` writes it: a capability, or more than that.
    """

    def __init__(self, directory: AgentDirectory, *, interval: timedelta, clock: Clock) -> None:
        self._directory = directory
        self._interval = interval
        self._clock = clock
        self._waiting: dict[tuple[str, str], dict[str, Callable[[], None]]] = {}
        self._keys: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self._narrowed: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """By organisation and capability, what is waited for that is more than that."""

    def enter(
        self, organization: str, asked: str, execution_id: str, wake: Callable[[], None]
    ) -> None:
        """Calls `wake` once those asked for are live, perhaps before it returns.

        Whoever enters found nobody a moment ago: an agent that came up since would not be told of.
        """
        if self._directory.available(organization, asked):
            wake()
            return
        key = (organization, asked)
        self._waiting.setdefault(key, {})[execution_id] = wake
        self._keys[execution_id].add(key)
        if (capability := read_ask(asked).capability) != asked:
            self._narrowed[organization, capability].add(asked)

    def leave(self, execution_id: str) -> None:
        """Forgets an execution, and what nobody else waits for."""
        for key in self._keys.pop(execution_id, ()):
            waiting = self._waiting[key]
            del waiting[execution_id]
            if not waiting:
                self._forget(*key)

    def offered(self, organization: str, capability: str) -> None:
        """Wakes those who wait for a capability: somebody offers it now."""
        self._wake(organization, capability)
        for asked in list(self._narrowed.get((organization, capability), ())):
            if self._directory.available(organization, asked):
                self._wake(organization, asked)

    async def run(self) -> None:
        """Looks again for ever, for what nobody told; begun again, it goes on."""
        while True:
            await self._clock.sleep(self._interval)
            keys = list(self._waiting)
            for first in range(0, len(keys), BATCH):
                await asyncio.gather(*(self._look(*key) for key in keys[first : first + BATCH]))

    async def _look(self, organization: str, asked: str) -> None:
        if await self._directory.look(organization, asked):
            self._wake(organization, asked)

    def _wake(self, organization: str, asked: str) -> None:
        key = (organization, asked)
        waiting = self._waiting.get(key, {})
        self._forget(*key)
        for execution_id in waiting:
            self._keys[execution_id].discard(key)
        for wake in waiting.values():
            wake()

    def _forget(self, organization: str, asked: str) -> None:
        self._waiting.pop((organization, asked), None)
        key = (organization, read_ask(asked).capability)
        if key in self._narrowed:
            self._narrowed[key].discard(asked)
            if not self._narrowed[key]:
                del self._narrowed[key]
