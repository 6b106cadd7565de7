"""What a webhook is: an endpoint of an organisation and the events it asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """A webhook as people see it; its secret lives elsewhere, sealed."""

    id: str
    url: str
    event_types: tuple[str, ...]
    description: str
    retry_schedule: tuple[timedelta, ...]
    """Waits between attempts; empty means the schedule of the service."""
    create_time: datetime


def matches(filters: Sequence[str], event_type: str) -> bool:
    """Tell whether an event type passes one of the filters: exact, `prefix.*`, or `*` for all."""
    for wanted in filters:
        if wanted in ("*", event_type):
            return True
        if wanted.endswith(".*") and event_type.startswith(wanted[:-1]):
            return True
    return False
