"""Has what is no longer kept erased and removed, a batch at a time."""

from __future__ import annotations

from brikk_shared.clock import Clock
from brikk_webhooks.store.retention import Retention


class Housekeeper:
    """Walks through old events from the oldest on, and begins anew when it has come through."""

    def __init__(self, retention: Retention, clock: Clock) -> None:
        self._retention = retention
        self._clock = clock
        self._erased = ""
        self._removed = ""

    async def erase(self) -> bool:
        """Erase bodies; tell whether there may be more to erase.

        Raises:
            Unavailable: the store does not answer.
        """
        last = await self._retention.erase_bodies(self._clock.now(), after=self._erased)
        self._erased = last or ""
        return last is not None

    async def remove(self) -> bool:
        """Remove deliveries, their attempts and events; tell whether there may be more to remove.

        Raises:
            Unavailable: the store does not answer.
        """
        last = await self._retention.remove_old(self._clock.now(), after=self._removed)
        self._removed = last or ""
        return last is not None
