"""MonitoringService: reports, ordered here and made beside the calls."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration

from brikk.monitoring.v1 import report_pb2 as pb
from brikk.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceServicer
from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.quantities import timestamp
from brikk_monitoring.domain.report import Kind, Report
from brikk_monitoring.store.reports import Reports
from brikk_shared.clock import Clock
from brikk_shared.errors import (
    Reason,
    ResourceExhausted,
    invalid_field,
    not_found,
    request_id_reused,
)
from brikk_shared.ids import new_id
from brikk_shared.pagination import cut, page_of

_COLLECTION: Final = "reports/"
_DEFAULT_WINDOW: Final = timedelta(days=1)
_MOST_WAITING: Final = 20
_KINDS: Final = {pb.Report.Kind.Value(f"KIND_{each.name}"): each for each in Kind}
_NUMBERS: Final = {kind: number for number, kind in _KINDS.items()}


class ReportMethods(MonitoringServiceServicer):
    """Takes orders for reports, and hands them out.

    Args:
        ordered: called when there is one to be made.
    """

    def __init__(self, reports: Reports, clock: Clock, *, ordered: Callable[[], None]) -> None:
        self._reports = reports
        self._clock = clock
        self._ordered = ordered

    async def CreateReport(
        self, request: pb.CreateReportRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Report:
        """Order a report, or give the one that the same request ordered before."""
        organization = readable_organization()
        given = request.report
        if given.kind not in _KINDS:
            raise invalid_field("report.kind", "is none that is known")
        wanted = Report(
            id=_id(organization, request.request_id) if request.request_id else new_id(),
            kind=_KINDS[given.kind],
            window=given.window.ToTimedelta() if given.HasField("window") else _DEFAULT_WINDOW,
            create_time=self._clock.now(),
        )
        waiting = [each for each in await self._reports.newest(organization) if not _made(each)]
        if len(waiting) >= _MOST_WAITING and wanted.id not in {each.id for each in waiting}:
            raise ResourceExhausted(
                Reason.QUOTA_EXCEEDED,
                f"{_MOST_WAITING} reports wait to be made, and no more may",
                metadata={"quota": "reports", "limit": str(_MOST_WAITING)},
                retry_after=timedelta(minutes=1),
            )
        report = await self._reports.order(organization, wanted)
        if (report.kind, report.window) != (wanted.kind, wanted.window):
            raise request_id_reused(request.request_id)
        self._ordered()
        return _message(report)

    async def GetReport(
        self, request: pb.GetReportRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Report:
        """Give a report with its content, once it is made."""
        report_id = request.name.removeprefix(_COLLECTION)
        report = await self._reports.get(readable_organization(), report_id)
        if report is None:
            raise not_found(request.name)
        message = _message(report)
        message.content = (report.content or "").encode()
        return message

    async def ListReports(
        self, request: pb.ListReportsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListReportsResponse:
        """List the reports, newest first."""
        page = page_of(request)
        reports = await self._reports.newest(readable_organization())
        if page.cursor:
            ids = [each.id for each in reports]
            reports = reports[ids.index(page.cursor) + 1 :] if page.cursor in ids else []
        shown, token = cut(request, page, reports, lambda each: each.id)
        return pb.ListReportsResponse(reports=map(_message, shown), next_page_token=token)


def _id(organization: str, request_id: str) -> str:
    digest = hashlib.blake2b(f"{organization}/{request_id}".encode(), digest_size=16)
    return f"r{digest.hexdigest()}"


def _made(report: Report) -> bool:
    return report.content is not None


def _message(report: Report) -> pb.Report:
    window = Duration()
    window.FromTimedelta(report.window)
    return pb.Report(
        name=_COLLECTION + report.id,
        kind=_NUMBERS[report.kind],
        window=window,
        state=pb.Report.STATE_SUCCEEDED if _made(report) else pb.Report.STATE_PENDING,
        create_time=timestamp(report.create_time),
    )
