"""Tells executions in memory what was asked of them, on whichever replica."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_workflow.runtime.engine import Engine
from brikk_workflow.runtime.residents import UNREADABLE_PAUSE, Residents
from brikk_workflow.runtime.run import Run
from brikk_workflow.store.loading import UNREADABLE
from brikk_workflow.store.wishes import held_with_wishes, read_wishes

log = structlog.get_logger()


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
            if not runs:
                return
            try:
                wishes = await read_wishes(
                    connection, {run.execution_id: run.wishes_read for run in runs}
                )
            except UNREADABLE:
                await self._read_singly(connection, runs)
                return
        for run in runs:
            run.post_wishes(wishes[run.execution_id])

    async def _read_singly(self, connection: AsyncConnection, runs: Sequence[Run]) -> None:
        """Reads for each execution by itself, and sets aside those for which that fails."""
        for run in runs:
            execution_id = run.execution_id
            try:
                wishes = await read_wishes(connection, {execution_id: run.wishes_read})
            except UNREADABLE:
                log.exception("wishes cannot be read", execution=execution_id)
                self._engine.metrics.unreadable.inc()
                self._residents.drop(run)
                self._residents.rest(execution_id, UNREADABLE_PAUSE)
            else:
                run.post_wishes(wishes[execution_id])
