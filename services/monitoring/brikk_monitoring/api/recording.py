"""MonitoringService: observations in, that their makers report by themselves."""

from __future__ import annotations

from typing import Any

import grpc

from brikk.monitoring.v1.metrics_pb2 import (
    PointRefusal,
    RecordMetricsRequest,
    RecordMetricsResponse,
)
from brikk.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceServicer
from brikk_monitoring.api.access import recording_organization
from brikk_monitoring.api.judging import judge_point
from brikk_monitoring.api.metrics import IngestionMetrics
from brikk_monitoring.store.intake import Intake
from brikk_shared.clock import Clock
from brikk_shared.status import to_status


class RecordingMethods(MonitoringServiceServicer):
    """Counts what is reported."""

    def __init__(self, intake: Intake, metrics: IngestionMetrics, clock: Clock) -> None:
        self._intake = intake
        self._metrics = metrics
        self._clock = clock

    async def RecordMetrics(
        self, request: RecordMetricsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> RecordMetricsResponse:
        """Count points; a repeated request has no effect."""
        return await self.record(recording_organization(), request)

    async def record(
        self, organization: str, request: RecordMetricsRequest
    ) -> RecordMetricsResponse:
        """Count points of an organisation."""
        now = self._clock.now()
        judgements = [
            judge_point(index, point, organization, now)
            for index, point in enumerate(request.points)
        ]
        expired = await self._intake.record(organization, request.request_id, judgements, now)
        self._metrics.count(judgements, expired)
        return RecordMetricsResponse(
            refusals=[
                PointRefusal(index=index, status=to_status(judgement.refusal.error))
                for index, judgement in enumerate(judgements)
                if judgement.refusal is not None
            ]
        )
