"""Executions out of memory that wait for an agent: they become due as soon as one is live."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection
from datetime import timedelta

import structlog

from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable
from brikk_workflow.clients.directory import AgentDirectory
from brikk_workflow.domain.asking import read_ask
from brikk_workflow.store.waits import awaited, rouse

log = structlog.get_logger()

BATCH = 100
"""Things waited for that are looked for at once."""
ROUSED = 500
"""Most executions that are due at once because of one thing waited for."""
PACE = timedelta(milliseconds=100)
"""How often the next are roused while more wait."""


class Rousing:
    """Rouses in the order of their starts, no more than the agents that came up can take.

    What is waited for it reads from the store now and then, and is told of what leaves memory
    here: a change of a capability that nobody waits for costs nothing. It is `asked` for as
    `domain.asking` writes it: by a capability, or by more than that.
    """

    def __init__(
        self, directory: AgentDirectory, database: Database, *, interval: timedelta, clock: Clock
    ) -> None:
        self._directory = directory
        self._database = database
        self._interval = interval
        self._clock = clock
        self._awaited: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """What is asked for, by organisation and capability."""
        self._offered: set[tuple[str, str]] = set()
        self._news = asyncio.Event()
        self._due: list[Callable[[], None]] = []

    def subscribe(self, due: Callable[[], None]) -> None:
        """Calls this from now on when executions have become due."""
        self._due.append(due)

    def left(self, organization: str, asks: Collection[str]) -> None:
        """Watches for an execution that has left memory.

        An agent that came up while it left was told of too early: it is looked for once more.
        """
        for asked in asks:
            self._awaited[organization, read_ask(asked).capability].add(asked)
            if self._directory.available(organization, asked):
                self._offer(organization, asked)

    def offered(self, organization: str, capability: str) -> None:
        """Rouses those who wait for a capability: somebody offers it now."""
        for asked in self._awaited.get((organization, capability), ()):
            self._offer(organization, asked)

    async def look(self) -> None:
        """Reads what is waited for and looks for it, for ever: what nobody told is found so."""
        while True:
            await self._clock.sleep(self._interval)
            try:
                async with self._database.reading() as connection:
                    for organization, asked in await awaited(connection):
                        self._awaited[organization, read_ask(asked).capability].add(asked)
            except Unavailable as error:
                log.warning("store does not answer", reason=error.reason)
            keys = [(key[0], asked) for key, asks in self._awaited.items() for asked in asks]
            for first in range(0, len(keys), BATCH):
                await asyncio.gather(*(self._look_for(*key) for key in keys[first : first + BATCH]))

    async def run(self) -> None:
        """Rouses for ever, a batch of each thing waited for at a time."""
        while True:
            await self._news.wait()
            self._news.clear()
            offered, self._offered = self._offered, set()
            try:
                for organization, asked in offered:
                    await self._rouse(organization, asked)
            except Unavailable as error:
                # Nobody is forgotten: the next look finds them.
                log.warning("store does not answer", reason=error.reason)
            await self._clock.sleep(PACE)

    def _offer(self, organization: str, asked: str) -> None:
        self._offered.add((organization, asked))
        self._news.set()

    async def _look_for(self, organization: str, asked: str) -> None:
        if await self._directory.look(organization, asked):
            self._offer(organization, asked)

    async def _rouse(self, organization: str, asked: str) -> None:
        if not self._directory.available(organization, asked):
            return
        free = self._directory.free_slots(organization, asked)
        # One at least: what the agents said of their calls may be long past.
        limit = ROUSED if free is None else max(1, min(free, ROUSED))
        async with self._database.transaction() as connection:
            more = await rouse(connection, self._database, organization, asked, limit=limit)
        for due in self._due:
            due()
        if more:
            self._offer(organization, asked)
            return
        key = (organization, read_ask(asked).capability)
        self._awaited[key].discard(asked)
        if not self._awaited[key]:
            del self._awaited[key]
