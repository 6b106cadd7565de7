"""Ends the deliveries of disabled webhooks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import structlog

from brikk_shared.errors import Unavailable
from brikk_webhooks.store.cancelling import Cancelling

_INTERVAL = timedelta(seconds=5)

_logger = structlog.stdlib.get_logger(__name__)


class Canceller:
    """Looks when it is woken and every 5 seconds; replicas may do so side by side.

    A delivery whose request was under way when its webhook was disabled comes back into the queue
    if that fails, and is found there later.
    """

    def __init__(self, cancelling: Cancelling) -> None:
        self._cancelling = cancelling
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Let it look now: a webhook was disabled."""
        self._wake.set()

    async def run(self) -> None:
        """Cancel for ever."""
        while True:
            self._wake.clear()
            try:
                while await self._cancelling.cancel():
                    pass
            except Unavailable as error:
                _logger.warning("deliveries_not_cancelled", error=error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL.total_seconds()):
                    await self._wake.wait()
