"""What operators see of the store of the measurements."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge

from brikk_monitoring.store.inventory import Inventory
from brikk_shared.clock import Clock
from brikk_shared.errors import Unavailable

_INTERVAL: Final = timedelta(seconds=15)

_log = structlog.stdlib.get_logger(__name__)


class StoreGauge:
    """Counts what the store holds every 15 seconds; replicas share it, and show the same."""

    def __init__(self, inventory: Inventory, registry: CollectorRegistry, clock: Clock) -> None:
        self._inventory = inventory
        self._clock = clock
        self._series = Gauge(
            "brikk_monitoring_series_active",
            "Series of all organisations that were counted by name within a day.",
            registry=registry,
        )
        self._dead_letters = Gauge(
            "brikk_monitoring_dead_letters",
            "Refused events of all organisations that are kept.",
            registry=registry,
        )

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            try:
                census = await self._inventory.census(self._clock.now())
            except Unavailable as error:
                _log.warning("store_not_counted", error=error.message)
            else:
                self._series.set(census.series)
                self._dead_letters.set(census.dead_letters)
            await self._clock.sleep(_INTERVAL)
