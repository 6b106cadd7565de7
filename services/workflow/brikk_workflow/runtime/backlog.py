"""For how long executions wait until a replica takes them in, as operators see it."""

from __future__ import annotations

from datetime import timedelta

import structlog

from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable
from brikk_workflow.runtime.metrics import Metrics
from brikk_workflow.store.ownership import longest_due

_INTERVAL = timedelta(seconds=15)

log = structlog.get_logger()


class BacklogGauge:
    """Measures the backlog every 15 seconds; it is shared, so each replica shows the same."""

    def __init__(self, database: Database, metrics: Metrics, clock: Clock) -> None:
        self._database = database
        self._metrics = metrics
        self._clock = clock

    async def run(self) -> None:
        """Measures for ever."""
        while True:
            try:
                async with self._database.reading() as connection:
                    age = await longest_due(connection, self._database)
            except Unavailable as error:
                log.warning("backlog not measured", reason=error.reason)
            else:
                self._metrics.oldest_runnable.set(age.total_seconds())
            await self._clock.sleep(_INTERVAL)
