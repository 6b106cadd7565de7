"""Tells watchers and waiters in this process that an execution moved."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from brikk_workflow.domain.record import ExecutionRecord


class Changes:
    """Wakes whoever follows an execution; what happened is read from the store."""

    def __init__(self) -> None:
        self._followers: defaultdict[str, set[Subscription]] = defaultdict(set)

    def moved(self, execution_id: str) -> None:
        """Wakes those who follow every step."""
        for follower in self._followers.get(execution_id, ()):
            if not follower.only_the_end:
                follower.woken.set()

    def ended(self, record: ExecutionRecord) -> None:
        """Wakes everybody."""
        for follower in self._followers.get(record.execution_id, ()):
            follower.ended = record
            follower.woken.set()

    @contextmanager
    def subscribe(self, execution_id: str, *, only_the_end: bool = False) -> Iterator[Subscription]:
        """Listens while the block runs; what happens from its beginning on is not missed."""
        subscription = Subscription(only_the_end=only_the_end)
        self._followers[execution_id].add(subscription)
        try:
            yield subscription
        finally:
            followers = self._followers[execution_id]
            followers.discard(subscription)
            if not followers:
                del self._followers[execution_id]


@dataclass(kw_only=True, slots=True, eq=False)
class Subscription:
    """One who follows an execution; `ended` is set once it has ended on this replica."""

    only_the_end: bool
    ended: ExecutionRecord | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def changed(self, timeout: timedelta) -> None:
        """Returns when something has happened since the last return, or after the timeout."""
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(timeout.total_seconds(), self.woken.set)
        try:
            await self.woken.wait()
        finally:
            alarm.cancel()
        self.woken.clear()
