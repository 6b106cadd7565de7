"""Questions to monitoring that several commands ask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from brikk.monitoring.v1 import monitoring_service_pb2 as pb
from brikk.monitoring.v1 import performance_pb2, query_pb2
from brikk_cli.client import Services
from brikk_cli.metrics_view import Courses
from brikk_shared.clock import SystemClock

_POINTS = 30
_MOST_COURSES = 100


def to_duration(length: timedelta) -> Duration:
    """The message of a length of time."""
    message = Duration()
    message.FromTimedelta(length)
    return message


def step_of(window: timedelta) -> timedelta:
    """A step that cuts a window into some thirty points of whole minutes, hours or days."""
    if window <= timedelta(hours=3):
        unit = timedelta(minutes=1)
    elif window <= timedelta(days=7):
        unit = timedelta(hours=1)
    else:
        unit = timedelta(days=1)
    return unit * max(1, math.ceil(window / unit / _POINTS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Measuring:
    """Asks about the window that ends now; with `compare` also about the one before."""

    services: Services
    window: timedelta
    compare: bool = False

    async def summary(self) -> performance_pb2.CoordinationSummary:
        """What happened."""
        request = pb.GetCoordinationSummaryRequest(
            window=to_duration(self.window), compare=self.compare
        )
        return await self.services.call(self.services.monitoring.GetCoordinationSummary, request)

    async def agents(self, limit: int) -> list[performance_pb2.AgentPerformance]:
        """The busiest agents."""
        request = pb.GetAgentPerformanceRequest(
            window=to_duration(self.window), compare=self.compare
        )
        return await self.services.pages(
            self.services.monitoring.GetAgentPerformance,
            request,
            lambda page: page.agents,
            limit=limit,
        )

    async def workflows(
        self, limit: int, workflow: str = ""
    ) -> list[performance_pb2.WorkflowPerformance]:
        """The busiest workflows, or one with its steps."""
        request = pb.GetWorkflowPerformanceRequest(
            window=to_duration(self.window), compare=self.compare, workflow=workflow
        )
        return await self.services.pages(
            self.services.monitoring.GetWorkflowPerformance,
            request,
            lambda page: page.workflows,
            limit=limit,
        )

    async def courses(
        self, metric: str, limit: int, *dimensions: query_pb2.Dimension.ValueType
    ) -> Courses:
        """How many there were step by step: by the value of a dimension, or in all as the empty."""
        start = Timestamp()
        start.FromDatetime(SystemClock().now() - self.window)
        request = query_pb2.QueryMetricsRequest(
            metric=metric,
            start_time=start,
            step=to_duration(step_of(self.window)),
            group_by=dimensions,
            top=min(limit, _MOST_COURSES),
        )
        answer = await self.services.call(self.services.monitoring.QueryMetrics, request)
        return {
            "".join(group.dimensions.values()): [point.values.values[0] for point in group.points]
            for group in answer.groups
        }
