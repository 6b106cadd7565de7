"""Carries out replays, a batch of deliveries at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from brikk_shared.errors import Unavailable
from brikk_webhooks.store.replays import Replays

_AT_ONCE = 100
_PACE = timedelta(milliseconds=100)
"""How long others have the store to themselves between two batches."""
_INTERVAL = timedelta(seconds=5)

_logger = structlog.stdlib.get_logger(__name__)


class Replayer:
    """Gives each replay its turn; replicas may do so side by side.

    Args:
        made: called when there are new deliveries.
    """

    def __init__(self, replays: Replays, *, made: Callable[[], None]) -> None:
        self._replays = replays
        self._made = made
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Let it look now: a replay was begun."""
        self._wake.set()

    async def run(self) -> None:
        """Replay for ever."""
        while True:
            self._wake.clear()
            pause = _INTERVAL
            try:
                for webhook_uid, replay_id in await self._replays.running(limit=_AT_ONCE):
                    pause = _PACE
                    if await self._replays.carry_on(webhook_uid, replay_id):
                        self._made()
            except Unavailable as error:
                _logger.warning("replays_not_carried_on", error=error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause.total_seconds()):
                    await self._wake.wait()
