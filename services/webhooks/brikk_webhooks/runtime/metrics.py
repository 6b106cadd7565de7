"""What operators see of deliveries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable
from brikk_shared.key_ring_file import KeyRingFile
from brikk_webhooks.domain.delivery import Outcome
from brikk_webhooks.domain.dispatch import Report
from brikk_webhooks.store.queue import Queue
from brikk_webhooks.store.sealed import count_by_ring_key

_INTERVAL = timedelta(seconds=15)
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600, 3600, 21600, 86400)

_log = structlog.stdlib.get_logger(__name__)


class DeliveryMetrics:
    """The metrics of deliveries; no label of theirs grows with use."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "brikk_webhooks_attempts_total",
            "Attempts, by what they came to: delivered, retry or failed.",
            ["outcome"],
            registry=registry,
        )
        for outcome in Outcome:
            self.attempts.labels(outcome)
        self.delivery_seconds = Histogram(
            "brikk_webhooks_delivery_seconds",
            "Time from the intake of an event to its delivery.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_depth = Gauge(
            "brikk_webhooks_queue_depth",
            "Deliveries that wait for an attempt or for the end of one, of all replicas.",
            registry=registry,
        )
        self.oldest_pending = Gauge(
            "brikk_webhooks_oldest_pending_seconds",
            "For how long the oldest delivery that is due has been due, of all replicas.",
            registry=registry,
        )
        self.sealed_secrets = Gauge(
            "brikk_webhooks_sealed_secrets",
            "Signing keys and headers that lie sealed under a key of the ring, of all replicas;"
            " a key that holds none may be taken out.",
            ["key"],
            registry=registry,
        )
        self.filter_failures = Counter(
            "brikk_webhooks_filter_failures_total",
            "Events that did not pass a webhook's filter because it failed on them.",
            registry=registry,
        )
        self._in_flight = Gauge(
            "brikk_webhooks_in_flight", "Requests under way in this process.", registry=registry
        )

    def count(self, report: Report, now: datetime) -> None:
        """Count an attempt that was logged."""
        outcome = report.verdict.outcome
        self.attempts.labels(outcome).inc()
        if outcome is Outcome.DELIVERED:
            waited = now - report.claim.create_time
            self.delivery_seconds.observe(max(0.0, waited.total_seconds()))

    def watch_in_flight(self, count: Callable[[], int]) -> None:
        """Let a scrape ask how many attempts are under way."""
        self._in_flight.set_function(count)


class StoreGauge:
    """Measures the store every 15 seconds; it is shared, so each replica shows the same."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        key_ring: KeyRingFile,
        metrics: DeliveryMetrics,
        clock: Clock,
    ) -> None:
        self._database = database
        self._queue = queue
        self._key_ring = key_ring
        self._metrics = metrics
        self._clock = clock

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            try:
                await self._measure()
            except Unavailable as error:
                _log.warning("store_not_measured", error=error.message)
            await self._clock.sleep(_INTERVAL)

    async def _measure(self) -> None:
        depth = await self._queue.depth()
        self._metrics.queue_depth.set(depth.pending)
        self._metrics.oldest_pending.set(depth.overdue.total_seconds())
        async with self._database.reading() as connection:
            sealed = await count_by_ring_key(connection)
        for name in self._key_ring.names | sealed.keys():
            self._metrics.sealed_secrets.labels(name).set(sealed.get(name, 0))
