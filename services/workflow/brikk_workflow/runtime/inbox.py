"""Tells executions in memory what was asked of them, on whichever replica."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from brikk_workflow.runtime.engine import Engine
from brikk_workflow.runtime.residents import Residents
from brikk_workflow.store.wishes import held_with_wishes, read_wishes


class Inbox:
    """Reads the wishes of all that this replica holds with one question."""

    def __init__(self, engine: Engine, residents: Residents, *, interval: timedelta) -> None:
        self._engine = engine
        self._residents = residents
        self._interval = interval
        self._news = asyncio.Event()

    def hasten(self) -> None:
        """Looks at once: something may have been asked."""
        self._news.set()

    async def run(self) -> None:
        """Reads for ever, at once when told to, else every interval."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval.total_seconds()):
                    await self._news.wait()
            self._news.clear()
            if self._residents:
                await self._read()

    async def _read(self) -> None:
        engine = self._engine
        async with engine.database.reading() as connection:
            wishful = await held_with_wishes(connection, engine.database, engine.replica)
            runs = [run for each in wishful if (run := self._residents.get(each))]
            after = {run.execution_id: run.wishes_read for run in runs}
            wishes = await read_wishes(connection, after) if after else {}
        for run in runs:
            run.post_wishes(wishes[run.execution_id])
