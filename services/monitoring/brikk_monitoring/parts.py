"""What the process of the service and those of its workers are both put together from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from brikk_monitoring.runtime.reporting import REPORTS, Reporter
from brikk_monitoring.settings import MonitoringSettings
from brikk_monitoring.store.alert_retention import ALERT_EXPIRY, AlertRetention
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.connection import connect
from brikk_monitoring.store.policies import Policies
from brikk_monitoring.store.reports import Reports
from brikk_shared.database import Database
from brikk_shared.process import Process
from brikk_shared.tasks import Task, Work

TASKS: Final = (REPORTS, ALERT_EXPIRY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stores:
    """Where everything lies."""

    database: Database
    redis: Redis
    buckets: Buckets
    policies: Policies
    reports: Reports

    def work(self, settings: MonitoringSettings, process: Process) -> Mapping[Task, Work]:
        """Give the work of the tasks."""
        reporter = Reporter(self.reports, self.buckets, self.policies, process.clock)
        retention = AlertRetention(
            self.database, kept=settings.alert_retention, clock=process.clock
        )
        return {REPORTS: reporter.work, ALERT_EXPIRY: retention.remove}


async def open_stores(settings: MonitoringSettings, process: Process) -> Stores:
    """Open the stores; the migrations of the database are run.

    Raises:
        Unavailable: the database does not answer.
    """
    database = await process.enter(
        Database(settings.database_url, migrations="brikk_monitoring.store.migrations")
    )
    redis = await process.enter(connect(settings.redis_url))
    return Stores(
        database=database,
        redis=redis,
        buckets=Buckets(redis),
        policies=Policies(redis, settings.retention),
        reports=Reports(redis),
    )
