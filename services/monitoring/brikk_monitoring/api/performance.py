"""MonitoringService: summaries out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from brikk.monitoring.v1 import performance_pb2
from brikk.monitoring.v1.monitoring_service_pb2 import (
    GetAgentPerformanceRequest,
    GetAgentPerformanceResponse,
    GetCoordinationSummaryRequest,
)
from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.metrics import IngestionMetrics
from brikk_monitoring.api.retention import RetentionMethods
from brikk_monitoring.domain.measurement import Latency, Status, Sums, share
from brikk_monitoring.domain.series import Dimension, Metric, group_name, parse_series, series_name
from brikk_monitoring.domain.window import Window, minute_of
from brikk_monitoring.store.apply import Limits
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.intake import Intake
from brikk_monitoring.store.inventory import Inventory
from brikk_monitoring.store.policies import Policies
from brikk_shared.clock import Clock
from brikk_shared.errors import FieldViolation, InvalidArgument, Reason
from brikk_shared.pagination import cut, page_of

_DEFAULT_WINDOW: Final = timedelta(hours=1)
_AGENTS: Final = "agents/"
_BY_AGENT: Final = group_name(Metric.CALLS, Dimension.AGENT)
_CURSOR: Final = re.compile(r"([0-9]{1,9}):([0-9]{1,18}):(agents/[a-z0-9-]+)")


class MonitoringServicer(RetentionMethods):
    """Answers what was counted for the caller's organisation."""

    def __init__(
        self,
        buckets: Buckets,
        intake: Intake,
        policies: Policies,
        inventory: Inventory,
        limits: Limits,
        metrics: IngestionMetrics,
        clock: Clock,
    ) -> None:
        super().__init__(intake, policies, inventory, limits, metrics, clock)
        self._buckets = buckets

    async def GetCoordinationSummary(
        self,
        request: GetCoordinationSummaryRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> performance_pb2.CoordinationSummary:
        """Sum up the executions and the steps."""
        now = self._clock.now()
        window = Window.ending_in(_minute(now), _length(request))
        sums = await self._buckets.sums(
            readable_organization(), (Metric.EXECUTIONS, Metric.STEPS), window
        )
        executions, steps = sums[Metric.EXECUTIONS], sums[Metric.STEPS]
        succeeded = executions.of(Status.SUCCEEDED)
        failed = executions.of(Status.FAILED)
        cancelled = executions.of(Status.CANCELLED)
        return performance_pb2.CoordinationSummary(
            start_time=_timestamp(window.start_time),
            end_time=_timestamp(now),
            executions=performance_pb2.ExecutionCounts(
                started=executions.of(Status.STARTED),
                succeeded=succeeded,
                failed=failed,
                cancelled=cancelled,
            ),
            steps=performance_pb2.StepCounts(
                succeeded=steps.of(Status.SUCCEEDED),
                failed=steps.of(Status.FAILED),
                skipped=steps.of(Status.SKIPPED),
                retried=steps.of(Status.RETRIED),
            ),
            success_ratio=share(succeeded, succeeded + failed + cancelled),
            execution_latency=_latency(executions.latency()),
            step_latency=_latency(steps.latency()),
        )

    async def GetAgentPerformance(
        self,
        request: GetAgentPerformanceRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> GetAgentPerformanceResponse:
        """List the agents, busiest first. All pages are of the window of the first."""
        page = page_of(request)
        before = _Cursor.parse(page.cursor) if page.cursor else None
        minute = before.minute if before else _minute(self._clock.now())
        window = Window.ending_in(minute, _length(request))

        ranked = await self._buckets.ranking(readable_organization(), _BY_AGENT, window)
        ranking = [(_agent(series), calls) for series, calls in ranked]
        if request.agent:
            ranking = [(agent, calls) for agent, calls in ranking if agent == request.agent]
        if before:
            ranking = [(agent, calls) for agent, calls in ranking if before.precedes(agent, calls)]
        listed, token = cut(
            request,
            page,
            ranking,
            lambda each: str(_Cursor(minute=minute, agent=each[0], calls=each[1])),
        )
        wanted = [_series(agent) for agent, _ in listed]
        sums = await self._buckets.sums(readable_organization(), wanted, window)

        return GetAgentPerformanceResponse(
            agents=[_performance(_agent(series), counted) for series, counted in sums.items()],
            next_page_token=token,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cursor:
    """The last agent of a page, in the window that ends in a minute."""

    minute: int
    calls: int
    agent: str

    def __str__(self) -> str:
        return f"{self.minute}:{self.calls}:{self.agent}"

    @staticmethod
    def parse(text: str) -> _Cursor:
        """Read one. A forged one only chooses where in the caller's own list to begin."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            description = "was not made by this method"
            raise InvalidArgument(
                Reason.INVALID_PAGE_TOKEN,
                f"page_token {description}",
                metadata={"field": "page_token"},
                violations=[FieldViolation("page_token", description)],
            )
        return _Cursor(minute=int(match[1]), calls=int(match[2]), agent=match[3])

    def precedes(self, agent: str, calls: int) -> bool:
        """Whether an agent comes later in the list."""
        return (-self.calls, self.agent) < (-calls, agent)


def _agent(series: str) -> str:
    return _AGENTS + parse_series(series).dimensions[Dimension.AGENT]


def _series(agent: str) -> str:
    return series_name(Metric.CALLS, agent=agent.removeprefix(_AGENTS))


def _performance(agent: str, sums: Sums) -> performance_pb2.AgentPerformance:
    succeeded, failed = sums.of(Status.SUCCEEDED), sums.of(Status.FAILED)
    return performance_pb2.AgentPerformance(
        agent=agent,
        calls=succeeded + failed,
        succeeded=succeeded,
        failed=failed,
        success_ratio=share(succeeded, succeeded + failed),
        latency=_latency(sums.latency()),
    )


def _latency(latency: Latency) -> performance_pb2.Latency:
    return performance_pb2.Latency(
        count=latency.count,
        mean=_duration(latency.mean_ms),
        p50=_duration(latency.p50_ms),
        p95=_duration(latency.p95_ms),
        p99=_duration(latency.p99_ms),
    )


def _duration(milliseconds: float) -> Duration:
    seconds, nanos = divmod(round(milliseconds * 1e6), 10**9)
    return Duration(seconds=seconds, nanos=nanos)


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def _minute(now: datetime) -> int:
    return minute_of(int(now.timestamp()))


def _length(request: GetCoordinationSummaryRequest | GetAgentPerformanceRequest) -> timedelta:
    return request.window.ToTimedelta() if request.HasField("window") else _DEFAULT_WINDOW
