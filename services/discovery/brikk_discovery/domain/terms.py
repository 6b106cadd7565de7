"""The intervals that the registry dictates, and how they stretch under load."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from math import ceil


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """The intervals that the registry dictates."""

    heartbeat_interval: timedelta
    """How long an agent waits between heartbeats."""
    suspect_after: timedelta
    """Silence after which an agent is given work only when nobody else is left."""
    expire_after: timedelta
    """Silence after which an agent is removed."""
    checkpoint_interval: timedelta
    """How long a heartbeat may lie in memory before the store knows of it."""

    @property
    def grace(self) -> timedelta:
        """How long past its end a lease is left alone: the last heartbeat may still be in memory,
        of which the store learns within one checkpoint, or two when one is under way.
        """
        return 2 * self.checkpoint_interval

    def stretched(self, agents: int, *, max_beats_per_second: int) -> Terms:
        """Give the intervals at which so many agents beat no more often than they may.

        All that an agent is told stretches alike, so that it may miss as many heartbeats as before.
        It does so in quarters of the unstretched length: an agent more or less changes nothing.
        """
        demand = agents / (max_beats_per_second * self.heartbeat_interval.total_seconds())
        if demand <= 1:
            return self
        factor = ceil(4 * demand) / 4
        return replace(
            self,
            heartbeat_interval=factor * self.heartbeat_interval,
            suspect_after=factor * self.suspect_after,
            expire_after=factor * self.expire_after,
        )
