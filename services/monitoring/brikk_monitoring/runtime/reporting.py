"""Makes the reports that were ordered: over long windows that takes longer than a call may."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from brikk_monitoring.domain.report import Report, write
from brikk_monitoring.domain.series import group_name, parse_series
from brikk_monitoring.domain.window import Window
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.policies import Policies
from brikk_monitoring.store.reports import Reports
from brikk_shared.clock import Clock
from brikk_shared.tasks import Task

REPORTS: Final = Task(name="reports", every=timedelta(minutes=1))

_ORDERING: Final = timedelta(minutes=1)
"""An order that is no report after so long never became one."""


class Reporter:
    """Does the task `REPORTS`. Two that make the same report write the same."""

    def __init__(
        self, reports: Reports, buckets: Buckets, policies: Policies, clock: Clock
    ) -> None:
        self._reports = reports
        self._buckets = buckets
        self._policies = policies
        self._clock = clock

    async def work(self) -> bool:
        """Make the report that waits longest; tell whether there are more.

        Raises:
            Unavailable: the store does not answer.
        """
        waiting = await self._reports.pending(2)
        for organization, report_id, ordered in waiting[:1]:
            report = await self._reports.get(organization, report_id)
            if report is None and self._clock.now() - ordered < _ORDERING:
                return False
            content = None if report is None else await self._make(organization, report)
            await self._reports.complete(organization, report_id, content)
        return len(waiting) > 1

    async def _make(self, organization: str, report: Report) -> str:
        metric, group = report.kind.subject
        [held] = await self._policies.held([(organization, metric)])
        resolution = held.resolution_for(report.window, report.window)
        last = resolution.bucket_of(report.create_time)
        window = Window.ending_in(last, report.window, resolution)
        ranking = await self._buckets.ranking(organization, group_name(metric, *group), window)
        sums = await self._buckets.sums(organization, [name for name, _ in ranking], window)
        rows = [(parse_series(name).dimensions, counted) for name, counted in sums.items()]
        return write(report.kind, rows, report.create_time - window.start_time)
