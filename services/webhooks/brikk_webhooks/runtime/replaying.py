"""Carries out replays, a batch of deliveries at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from brikk_shared.clock import Clock
from brikk_webhooks.store.replays import Replays

_AT_ONCE = 100
_PACE = timedelta(milliseconds=100)
"""How long others have the store to themselves between two batches."""
_FULL = timedelta(seconds=1)
"""How long to wait for room when enough deliveries wait already."""


class Replayer:
    """Gives each replay its turn; replicas may do so side by side.

    Args:
        made: called when there are new deliveries.
    """

    def __init__(self, replays: Replays, clock: Clock, *, made: Callable[[], None]) -> None:
        self._replays = replays
        self._clock = clock
        self._made = made

    async def replay(self) -> bool:
        """Carry each replay on by a batch; tell whether there was one.

        Raises:
            Unavailable: the store does not answer.
        """
        running = await self._replays.running(limit=_AT_ONCE)
        made = [await self._replays.carry_on(*each) for each in running]
        if any(made):
            self._made()
        if running:
            await self._clock.sleep(_PACE if any(made) else _FULL)
        return bool(running)
