"""Old deliveries that are made once more: which, and how far that has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from brikk_webhooks.domain.delivery import DeliveryState
from brikk_webhooks.domain.selection import matches


class ReplayState(IntEnum):
    """Where a replay stands; the numbers are those that are stored."""

    RUNNING = 1
    SUCCEEDED = 2
    CANCELLED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """A replay as people see it."""

    id: str
    delivery_states: tuple[DeliveryState, ...]
    event_types: tuple[str, ...]
    """Empty for all."""
    start_time: datetime | None
    end_time: datetime | None
    """None until it is kept; then no later than that."""
    state: ReplayState = ReplayState.RUNNING
    replayed: int = 0
    erased: int = 0
    create_time: datetime | None = None
    complete_time: datetime | None = None

    def wants(self, event_type: str) -> bool:
        """Tell whether it takes deliveries of this type of event."""
        return not self.event_types or matches(self.event_types, event_type)
