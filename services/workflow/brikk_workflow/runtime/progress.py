"""What agents tell of attempts under way, written for everybody now and then."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable
from brikk_workflow.domain.attempt_progress import AttemptProgress
from brikk_workflow.runtime.changes import Changes
from brikk_workflow.store.progress import clear_progress, write_progress

log = structlog.get_logger()

INTERVAL = timedelta(seconds=1)
"""The least time between two writes: each is one transaction for all executions with news."""
MAX_ATTEMPTS = 100
"""Attempts of one execution that are told of at once; of others nothing is shown."""


class ProgressBoard:
    """Keeps the newest word about each attempt and writes it; nothing of it is history.

    Readers know by its token whether a word is about the attempt under way, so what has ended need
    not be wiped off at once. Attempts of which nobody tells anything cost nothing here.
    """

    def __init__(self, database: Database, changes: Changes, clock: Clock) -> None:
        self._database = database
        self._changes = changes
        self._clock = clock
        self._told: dict[str, dict[str, AttemptProgress]] = {}
        self._fresh: set[str] = set()
        """Executions of which something was told that is not written yet."""
        self._written: set[str] = set()
        self._news = asyncio.Event()

    def tell(self, execution_id: str, token: str, told: AttemptProgress) -> None:
        """Takes in what an agent told of an attempt."""
        attempts = self._told.setdefault(execution_id, {})
        if token in attempts or len(attempts) < MAX_ATTEMPTS:
            attempts[token] = told
            self._fresh.add(execution_id)
            self._news.set()

    def end(self, execution_id: str, token: str) -> None:
        """Forgets an attempt that has ended."""
        attempts = self._told.get(execution_id)
        if attempts is None or attempts.pop(token, None) is None:
            return
        if not attempts:
            del self._told[execution_id]
            self._fresh.discard(execution_id)
            if execution_id in self._written:
                self._news.set()

    async def run(self) -> None:
        """Writes for ever, at once but not again before the interval has passed."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._write()
            except Unavailable as error:
                log.warning("store does not answer", reason=error.reason)
                self._news.set()
            await self._clock.sleep(INTERVAL)

    async def _write(self) -> None:
        fresh = {each: dict(self._told[each]) for each in self._fresh}
        gone = self._written - self._told.keys()
        async with self._database.transaction(audit=()) as connection:
            if fresh:
                await write_progress(connection, fresh)
            if gone:
                await clear_progress(connection, gone)
        self._written = (self._written | fresh.keys()) - gone
        for execution_id, attempts in fresh.items():
            if self._told.get(execution_id) == attempts:
                self._fresh.discard(execution_id)
            self._changes.moved(execution_id)
        if self._written - self._told.keys():  # what ended meanwhile
            self._news.set()
