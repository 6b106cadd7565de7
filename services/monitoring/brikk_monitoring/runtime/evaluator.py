"""Evaluates rules when they are due, each shard of them in one replica at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from brikk_monitoring.domain.alert import AlertState
from brikk_monitoring.domain.rule import SHARDS
from brikk_monitoring.runtime.reading import Asked, read
from brikk_monitoring.store.alerts import Alerts
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.evaluations import Evaluations
from brikk_monitoring.store.policies import Policies
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import BrikkError, Unavailable
from brikk_shared.leases import Lease, Leases

_LEASE: Final = timedelta(seconds=15)
_SHORTEST: Final = timedelta(milliseconds=50)
_LONGEST: Final = timedelta(seconds=2)
"""After so long it is looked whether rules were made or changed elsewhere."""
_INTERVAL: Final = timedelta(seconds=15)

_log = structlog.stdlib.get_logger(__name__)


class AlertMetrics:
    """What operators see of the evaluation of rules."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.evaluations = Counter(
            "brikk_monitoring_rule_evaluations_total",
            "Evaluations of alert rules, by whether the measurements could be read.",
            ["result"],
            registry=registry,
        )
        for result in ("read", "unread"):
            self.evaluations.labels(result)
        self.misses = Counter(
            "brikk_monitoring_rule_evaluation_misses_total",
            "Evaluations of alert rules that did not happen in time.",
            registry=registry,
        )
        self.alerts = Gauge(
            "brikk_monitoring_alerts",
            "Alerts that are not resolved by state, of all replicas.",
            ["state"],
            registry=registry,
        )
        self.show({})

    def show(self, counts: Mapping[AlertState, int]) -> None:
        """Show how many there are."""
        for state in AlertState:
            if state is not AlertState.RESOLVED:
                self.alerts.labels(state.name.lower()).set(counts.get(state, 0))


class Evaluator:
    """Evaluates rules; `run` is the loop of a shard.

    Args:
        delay: how far an evaluation stays behind, for measurements that come late.
    """

    def __init__(
        self,
        evaluations: Evaluations,
        leases: Leases,
        buckets: Buckets,
        policies: Policies,
        metrics: AlertMetrics,
        *,
        delay: timedelta,
        clock: Clock,
    ) -> None:
        self._evaluations = evaluations
        self._leases = leases
        self._buckets = buckets
        self._policies = policies
        self._metrics = metrics
        self._delay = delay
        self._clock = clock
        self._changed = [asyncio.Event() for _ in range(SHARDS)]

    def wake(self, shard: int) -> None:
        """Look what is due: a rule of the shard was made or changed."""
        self._changed[shard].set()

    async def run(self, shard: int) -> None:
        """Evaluate the rules of a shard, whenever no other replica does, until cancelled."""
        await self._leases.hold(f"alert-rules-{shard}", _LEASE, partial(self._work, shard))

    async def _work(self, shard: int, lease: Lease) -> None:
        while True:
            self._changed[shard].clear()
            try:
                pause = await self.evaluate(shard, lease)
            except Unavailable as error:
                _log.warning("rules_not_evaluated", shard=shard, reason=error.message)
                pause = _LONGEST
            await self._wait(shard, pause)

    async def evaluate(self, shard: int, lease: Lease) -> timedelta:
        """Evaluate what is due of a shard; say when to look again.

        Raises:
            LeaseLost: another evaluates the shard by now.
            Unavailable: one of the stores does not answer.
        """
        now = self._clock.now()
        due, later = await self._evaluations.due(shard, now)
        if not due:
            pause = _LONGEST if later is None else later - now
            return min(max(pause, _SHORTEST), _LONGEST)
        try:
            held = await self._policies.held(
                [(each.rule.organization, each.rule.definition.inquiry.metric) for each in due]
            )
            asked = [
                Asked(
                    organization=each.rule.organization,
                    definition=each.rule.definition,
                    end=now - self._delay,
                    now=now,
                    held=retention,
                )
                for each, retention in zip(due, held, strict=True)
            ]
            readings = await read(self._buckets, asked)
        except BrikkError:
            self._metrics.evaluations.labels("unread").inc(len(due))
            raise
        await self._evaluations.settle(
            lease,
            {
                each.rule.uid: (each.rule, answer)
                for each, answer in zip(due, readings, strict=True)
            },
            now,
        )
        self._metrics.evaluations.labels("read").inc(len(due))
        late = sum((now - each.since) // each.rule.definition.interval for each in due)
        self._metrics.misses.inc(late)
        return timedelta(0)

    async def _wait(self, shard: int, pause: timedelta) -> None:
        if not pause:
            return
        waits = [
            asyncio.ensure_future(self._changed[shard].wait()),
            asyncio.ensure_future(self._clock.sleep(pause)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()


class AlertGauge:
    """Counts the alerts every 15 seconds; they are shared, so each replica shows the same."""

    def __init__(
        self, database: Database, alerts: Alerts, metrics: AlertMetrics, clock: Clock
    ) -> None:
        self._database = database
        self._alerts = alerts
        self._metrics = metrics
        self._clock = clock

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            try:
                async with self._database.reading() as connection:
                    counts = await self._alerts.count(connection)
            except Unavailable as error:
                _log.warning("alerts_not_counted", error=error.message)
            else:
                self._metrics.show(counts)
            await self._clock.sleep(_INTERVAL)
