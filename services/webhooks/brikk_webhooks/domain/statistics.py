"""How the deliveries of a window went, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from brikk_webhooks.domain.delivery import DeliveryState

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """Deliveries by state, and their attempts by status; 0 when there was no answer."""

    deliveries: Mapping[DeliveryState, int]
    attempts: Mapping[int, int]
    latencies: Mapping[int, timedelta]
    """By percentile, of `PERCENTILES`; empty when there were no attempts."""
