"""Looks at the endpoints that fail, and at those that have recovered."""

from __future__ import annotations

from collections.abc import Callable

from brikk_webhooks.store.reviews import Reviews


class Reviewer:
    """Looks at them all; replicas may do so side by side.

    Args:
        disabled: called when a webhook was disabled.
    """

    def __init__(self, reviews: Reviews, *, disabled: Callable[[], None]) -> None:
        self._reviews = reviews
        self._disabled = disabled

    async def review(self) -> bool:
        """Settle all cases once; nothing is left to do after it.

        Raises:
            Unavailable: the store does not answer.
        """
        after = ""
        while cases := await self._reviews.find(after=after):
            for case in cases:
                if await self._reviews.settle(case):
                    self._disabled()
            after = cases[-1].uid
        return False

    async def mend_orders(self) -> bool:
        """Let deliveries go that wait for nothing; nothing is left to do after it.

        Raises:
            Unavailable: the store does not answer.
        """
        await self._reviews.mend_orders()
        return False
