"""Tells of groups of alerts when their time has come, each shard in one replica at a time."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from brikk_monitoring.domain.muting import Withheld
from brikk_monitoring.store.telling import Telling
from brikk_shared.clock import Clock
from brikk_shared.errors import Unavailable
from brikk_shared.leases import Lease, Leases

_LEASE: Final = timedelta(seconds=15)
_SHORTEST: Final = timedelta(milliseconds=50)
_LONGEST: Final = timedelta(seconds=1)
"""After so long it is looked whether alerts have begun to fire."""

_log = structlog.stdlib.get_logger(__name__)


class Notifier:
    """Decides who is told of alerts; `run` is the loop of a shard."""

    def __init__(
        self, telling: Telling, leases: Leases, registry: CollectorRegistry, clock: Clock
    ) -> None:
        self._telling = telling
        self._leases = leases
        self._clock = clock
        self._decided = Counter(
            "brikk_monitoring_notices_total",
            "Notices of groups of alerts: told, or why they were withheld.",
            ["result"],
            registry=registry,
        )
        for result in ("told", *(kind.name.lower() for kind in Withheld)):
            self._decided.labels(result)

    async def run(self, shard: int) -> None:
        """Tell of the groups of a shard, whenever no other replica does, until cancelled."""
        await self._leases.hold(f"alert-groups-{shard}", _LEASE, partial(self._work, shard))

    async def _work(self, shard: int, lease: Lease) -> None:
        while True:
            try:
                pause = await self.tell(shard, lease)
            except Unavailable as error:
                _log.warning("groups_not_told", shard=shard, reason=error.message)
                pause = _LONGEST
            await self._clock.sleep(pause)

    async def tell(self, shard: int, lease: Lease) -> timedelta:
        """Do what is due in a shard; say when to look again.

        Raises:
            LeaseLost: another does that by now.
            Unavailable: the store does not answer.
        """
        waiting = await self._telling.waiting(shard)
        now = self._clock.now()
        for organization in waiting.organizations:
            await self._telling.route(lease, organization, now)
        if waiting.next_due is not None and waiting.next_due <= now:
            for each in await self._telling.flush(lease, shard, now):
                kind = Withheld.kind_of(each.reason).name.lower() if each.reason else "told"
                self._decided.labels(kind).inc()
            return timedelta(0)
        if waiting.organizations:
            return timedelta(0)
        pause = _LONGEST if waiting.next_due is None else waiting.next_due - now
        return min(max(pause, _SHORTEST), _LONGEST)
