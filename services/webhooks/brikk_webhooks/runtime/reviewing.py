"""Looks at the endpoints that fail, and at those that have recovered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from brikk_shared.errors import Unavailable
from brikk_webhooks.store.reviews import Reviews

_INTERVAL = timedelta(seconds=5)
_ROUNDS = 12
"""Orders are mended in one of so many rounds."""

_logger = structlog.stdlib.get_logger(__name__)


class Reviewer:
    """Looks when it is woken and every 5 seconds; replicas may do so side by side.

    Args:
        disabled: called when a webhook was disabled.
    """

    def __init__(self, reviews: Reviews, *, disabled: Callable[[], None]) -> None:
        self._reviews = reviews
        self._disabled = disabled
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Let it look now: an endpoint may have given up, or recovered."""
        self._wake.set()

    async def run(self) -> None:
        """Review for ever."""
        rounds = 0
        while True:
            self._wake.clear()
            try:
                await self.review()
                if rounds % _ROUNDS == 0:
                    await self._reviews.mend_orders()
            except Unavailable as error:
                _logger.warning("endpoints_not_reviewed", error=error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL.total_seconds()):
                    await self._wake.wait()
            rounds += not self._wake.is_set()

    async def review(self) -> None:
        """Settle all cases once.

        Raises:
            Unavailable: the store does not answer.
        """
        after = ""
        while cases := await self._reviews.find(after=after):
            for case in cases:
                if await self._reviews.settle(case):
                    self._disabled()
            after = cases[-1].uid
