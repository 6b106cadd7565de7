"""How much an endpoint lets through at a moment: by its webhook's bounds, and by how it fares."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from brikk_webhooks.domain.pace import allowed, ready_at


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What bounds requests to an endpoint."""

    max_rate: int
    """Per minute; 0 for no bound."""
    max_in_flight: int
    """0 for no bound."""
    paced_until: datetime | None
    """See `pace`."""
    paused_until: datetime | None
    """See `health`."""

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.max_rate or self.max_in_flight or self.paused_until)

    def opens_at(self, due: datetime) -> datetime:
        """Say when what is due then may go at the earliest."""
        moments = [due]
        if self.paused_until is not None:
            moments.append(self.paused_until)
        if self.max_rate and self.paced_until is not None:
            moments.append(ready_at(self.paced_until, rate=self.max_rate))
        return max(moments)

    def probes(self, now: datetime) -> bool:
        """Tell whether a request that goes now shows if the endpoint has recovered."""
        return self.paused_until is not None and self.paused_until <= now

    def room(self, now: datetime, *, in_flight: int = 0) -> int | None:
        """Say how many more requests may go now; None for any number."""
        rooms = []
        if self.max_in_flight:
            rooms.append(self.max_in_flight - in_flight)
        if self.max_rate:
            rooms.append(allowed(self.paced_until, now, rate=self.max_rate))
        if self.paused_until is not None:
            rooms.append(1 if self.probes(now) else 0)
        return max(0, min(rooms)) if rooms else None
