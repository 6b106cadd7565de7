"""The monitoring service in this process, and what its tests send to it and ask of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishItem, PublishRequest, PublishResponse
from brikk.event.v1.event_service_pb2_grpc import EventServiceStub
from brikk.monitoring.v1.alerting_service_pb2_grpc import AlertingServiceStub
from brikk.monitoring.v1.metrics_pb2 import (
    MetricPoint,
    RecordMetricsRequest,
    RecordMetricsResponse,
)
from brikk.monitoring.v1.monitoring_service_pb2 import (
    GetAgentPerformanceRequest,
    GetAgentPerformanceResponse,
    GetCoordinationSummaryRequest,
    GetWorkflowPerformanceRequest,
    GetWorkflowPerformanceResponse,
)
from brikk.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceStub
from brikk.monitoring.v1.performance_pb2 import CoordinationSummary
from brikk.monitoring.v1.query_pb2 import QueryMetricsRequest, QueryMetricsResponse
from brikk_monitoring.app import build
from brikk_monitoring.settings import MonitoringSettings
from brikk_shared.application import Running, running
from brikk_shared.clock import Clock
from brikk_shared.event import make_event
from brikk_shared.ids import new_id
from brikk_shared.testing import Tokens, bearer

DEADLINE: Final = 30
GENERATION: Final = "3f0c9f4e-0000-4000-8000-000000000001"


class Monitoring:
    """A client of a running monitoring service."""

    def __init__(self, service: Running, channel: grpc.aio.Channel, tokens: Tokens) -> None:
        self.service = service
        self.channel = channel
        self.tokens = tokens
        self.events = EventServiceStub(channel)
        self.performance = MonitoringServiceStub(channel)
        self.alerting = AlertingServiceStub(channel)

    async def publish(
        self, *items: tuple[int, Event], generation: str = GENERATION, shard: int = 0
    ) -> PublishResponse:
        """Send a batch of events at their positions, as the workflow service does."""
        request = PublishRequest(
            producer="workflow",
            generation=generation,
            shard=shard,
            items=[PublishItem(position=position, event=event) for position, event in items],
        )
        return await self.events.Publish(
            request, metadata=bearer(self.tokens.internal()), timeout=DEADLINE
        )

    async def summary(
        self, organization: str = "acme", window: timedelta | None = None
    ) -> CoordinationSummary:
        """Ask for the summary of an organisation, as one of its users."""
        request = GetCoordinationSummaryRequest(window=_duration(window))
        return await self.performance.GetCoordinationSummary(
            request, metadata=self.reader(organization), timeout=DEADLINE
        )

    async def agents(
        self, organization: str = "acme", request: GetAgentPerformanceRequest | None = None
    ) -> GetAgentPerformanceResponse:
        """Ask how the agents of an organisation worked, as one of its users."""
        return await self.performance.GetAgentPerformance(
            request or GetAgentPerformanceRequest(),
            metadata=self.reader(organization),
            timeout=DEADLINE,
        )

    async def record(
        self, *points: MetricPoint, organization: str = "acme", request_id: str = ""
    ) -> RecordMetricsResponse:
        """Report points for an organisation, as one of its users."""
        request = RecordMetricsRequest(request_id=request_id or new_id(), points=points)
        return await self.performance.RecordMetrics(
            request,
            metadata=bearer(self.tokens.user(organization, "metrics.write")),
            timeout=DEADLINE,
        )

    def admin(self, organization: str = "acme") -> tuple[tuple[str, str], ...]:
        """Metadata of a user who may decide how long measurements are held."""
        return bearer(self.tokens.user(organization, "metrics.*"))

    async def workflows(
        self, organization: str = "acme", request: GetWorkflowPerformanceRequest | None = None
    ) -> GetWorkflowPerformanceResponse:
        """Ask how the workflows of an organisation went, as one of its users."""
        return await self.performance.GetWorkflowPerformance(
            request or GetWorkflowPerformanceRequest(),
            metadata=self.reader(organization),
            timeout=DEADLINE,
        )

    async def query(
        self, request: QueryMetricsRequest, organization: str = "acme"
    ) -> QueryMetricsResponse:
        """Ask what was counted for an organisation, as one of its users."""
        return await self.performance.QueryMetrics(
            request, metadata=self.reader(organization), timeout=DEADLINE
        )

    def reader(self, organization: str) -> tuple[tuple[str, str], ...]:
        """Metadata of a user who may read the measurements of an organisation."""
        return bearer(self.tokens.user(organization, "metrics.read"))

    def alerter(self, organization: str = "acme") -> tuple[tuple[str, str], ...]:
        """Metadata of a user who may define and answer the alerts of an organisation."""
        return bearer(self.tokens.user(organization, "alert.*", "admin"))

    def metric(self, name: str, **labels: str) -> float:
        """Read one of the service's metrics."""
        value = self.service.application.telemetry.registry.get_sample_value(name, labels)
        assert value is not None, name
        return value


@asynccontextmanager
async def monitoring(
    redis_url: str,
    tokens: Tokens,
    *,
    clock: Clock | None = None,
    series_cap: int = 500,
    answers_ttl: timedelta = timedelta(0),
    database_url: str | None = None,
    webhooks_address: str | None = None,
) -> AsyncIterator[Monitoring]:
    """Run the service on a store."""
    settings = MonitoringSettings(
        listen="127.0.0.1:0",
        http_listen="127.0.0.1:0",
        issuers=tokens.issuers,
        service_key=tokens.service_key,
        database_url=database_url
        or f"sqlite:///{tokens.users_key.parent}/monitoring-{new_id()}.db",
        webhooks_address=webhooks_address,
        evaluation_delay=timedelta(0),
        redis_url=redis_url,
        series_cap=series_cap,
        answers_ttl=answers_ttl,
    )
    async with (
        running(settings, build, clock=clock) as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        yield Monitoring(service, channel, tokens)


def execution(
    status: str, time: datetime, *, organization: str = "acme", duration_ms: object = 100.0
) -> Event:
    """An event of an execution."""
    data: dict[str, object] = {"workflow": "triage", "version": 1}
    if status != "started":
        data |= {"duration_ms": duration_ms}
    return _event(f"brikk.execution.{status}.v1", "executions/e1", organization, time, data)


def step(
    status: str,
    time: datetime,
    *,
    organization: str = "acme",
    agent: object = "agents/reader",
    latency_ms: object = 20.0,
    duration_ms: object = 40.0,
) -> Event:
    """An event of a step."""
    data: dict[str, object] = {"workflow": "triage", "step": "read"}
    if status != "skipped":
        data |= {"agent": agent, "latency_ms": latency_ms}
    if status in ("succeeded", "failed"):
        data |= {"duration_ms": duration_ms}
    return _event(f"brikk.step.{status}.v1", "executions/e1", organization, time, data)


def numbered(events: Sequence[Event], *, first: int = 1) -> list[tuple[int, Event]]:
    """Give events the positions from `first` upwards."""
    return list(enumerate(events, start=first))


def _event(
    event_type: str, subject: str, organization: str, time: datetime, data: dict[str, object]
) -> Event:
    return make_event(
        source="brikk.workflow",
        type=event_type,
        subject=subject,
        organization=organization,
        sequence=1,
        time=time,
        data=data,
    )


def _duration(window: timedelta | None) -> Duration | None:
    if window is None:
        return None
    duration = Duration()
    duration.FromTimedelta(window)
    return duration
