"""MonitoringService: how executions, workflows and agents did in the window that ends now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import grpc

from brikk.monitoring.v1 import performance_pb2
from brikk.monitoring.v1.monitoring_service_pb2 import (
    GetAgentPerformanceRequest,
    GetAgentPerformanceResponse,
    GetCoordinationSummaryRequest,
    GetWorkflowPerformanceRequest,
    GetWorkflowPerformanceResponse,
)
from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.answers import Answers
from brikk_monitoring.api.health import HealthMethods
from brikk_monitoring.api.listing import AGENTS, WORKFLOWS, Cursor, Kind, Listing
from brikk_monitoring.api.metrics import IngestionMetrics
from brikk_monitoring.api.quantities import latency_message, timestamp
from brikk_monitoring.api.query import QueryMethods
from brikk_monitoring.api.reports import ReportMethods
from brikk_monitoring.api.retention import RetentionMethods
from brikk_monitoring.domain.measurement import Status, Sums
from brikk_monitoring.domain.question import ended, per, success_ratio
from brikk_monitoring.domain.series import Dimension, Metric, group_name, parse_series
from brikk_monitoring.domain.window import Window
from brikk_monitoring.runtime.analysis import MOST_BUCKETS, Analysis
from brikk_monitoring.store.apply import Limits
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.intake import Intake
from brikk_monitoring.store.inventory import Inventory
from brikk_monitoring.store.policies import Policies
from brikk_monitoring.store.reports import Reports
from brikk_shared.clock import Clock
from brikk_shared.pagination import Page, cut, page_of

_DEFAULT_WINDOW: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)
_MOST_STEPS: Final = 50
_SUMMED: Final = tuple(Metric)

_Request = (
    GetCoordinationSummaryRequest | GetAgentPerformanceRequest | GetWorkflowPerformanceRequest
)


class MonitoringServicer(RetentionMethods, HealthMethods, ReportMethods, QueryMethods):
    """Answers what was counted for the caller's organisation."""

    def __init__(
        self,
        buckets: Buckets,
        answers: Answers,
        intake: Intake,
        policies: Policies,
        inventory: Inventory,
        limits: Limits,
        metrics: IngestionMetrics,
        reports: Reports,
        clock: Clock,
        *,
        ordered: Callable[[], None],
    ) -> None:
        RetentionMethods.__init__(self, intake, policies, inventory, limits, metrics, clock)
        HealthMethods.__init__(self, buckets, answers, clock)
        ReportMethods.__init__(self, reports, clock, ordered=ordered)
        QueryMethods.__init__(self, Analysis(buckets, policies), answers, clock)
        self._buckets = buckets

    async def GetCoordinationSummary(
        self,
        request: GetCoordinationSummaryRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> performance_pb2.CoordinationSummary:
        """Sum up what happened, by kind."""

        async def work() -> performance_pb2.CoordinationSummary:
            now = self._clock.now()
            window = await self._window(request, _SUMMED, now)
            summary = await self._summary(window, now)
            if request.compare:
                before = await self._summary(window.before, window.start_time)
                summary.previous.CopyFrom(before)
            return summary

        return await self._answers.get(readable_organization(), request, work)

    async def GetAgentPerformance(
        self,
        request: GetAgentPerformanceRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> GetAgentPerformanceResponse:
        """List the agents, busiest first. All pages are of the window of the first."""

        async def work() -> GetAgentPerformanceResponse:
            listing = await self._list(request, AGENTS, request.agent, compare=request.compare)
            return GetAgentPerformanceResponse(
                agents=[_agent(listing, name) for name in listing.sums],
                next_page_token=listing.next_page_token,
            )

        return await self._answers.get(readable_organization(), request, work)

    async def GetWorkflowPerformance(
        self,
        request: GetWorkflowPerformanceRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> GetWorkflowPerformanceResponse:
        """List the workflows, busiest first. All pages are of the window of the first."""

        async def work() -> GetWorkflowPerformanceResponse:
            listing = await self._list(
                request, WORKFLOWS, request.workflow, compare=request.compare
            )
            answer = GetWorkflowPerformanceResponse(
                workflows=[_workflow(listing, name) for name in listing.sums],
                next_page_token=listing.next_page_token,
            )
            if request.workflow and answer.workflows:
                steps = await self._steps(request.workflow, listing.window)
                answer.workflows[0].steps.extend(steps)
            return answer

        return await self._answers.get(readable_organization(), request, work)

    async def _window(
        self,
        request: _Request,
        metrics: Sequence[Metric],
        now: datetime,
        last: int | None = None,
    ) -> Window:
        """The window that a request asks for; it ends in the bucket `last` if given, else now."""
        length = request.window.ToTimedelta() if request.HasField("window") else _DEFAULT_WINDOW
        organization = readable_organization()
        held = await self._policies.held([(organization, metric) for metric in metrics])
        resolution = max(
            (each.resolution_for(length, length) for each in held), key=lambda each: each.seconds
        )
        bucket = resolution.bucket_of(now) if last is None else last
        return Window.ending_in(bucket, length, resolution)

    async def _summary(self, window: Window, end: datetime) -> performance_pb2.CoordinationSummary:
        sums = await self._buckets.sums(readable_organization(), _SUMMED, window)
        active = await self._buckets.ranking(
            readable_organization(), group_name(Metric.CALLS, Dimension.AGENT), window
        )
        executions, steps, calls = sums[Metric.EXECUTIONS], sums[Metric.STEPS], sums[Metric.CALLS]
        agents, deliveries = sums[Metric.AGENTS], sums[Metric.DELIVERIES]
        return performance_pb2.CoordinationSummary(
            start_time=timestamp(window.start_time),
            end_time=timestamp(end),
            executions=_executions(executions),
            steps=_step_counts(steps),
            success_ratio=success_ratio(executions),
            execution_latency=latency_message(executions.latency()),
            step_latency=latency_message(steps.latency()),
            executions_per_minute=per(executions, end - window.start_time, _MINUTE),
            errors=executions.errors,
            calls=performance_pb2.CallCounts(
                succeeded=calls.of(Status.SUCCEEDED),
                failed=calls.of(Status.FAILED),
                tokens=calls.tokens,
                cost_micros=calls.cost_micros,
            ),
            call_latency=latency_message(calls.latency()),
            active_agents=len(active),
            agents=performance_pb2.AgentCounts(
                registered=agents.of(Status.REGISTERED),
                deregistered=agents.of(Status.DEREGISTERED),
                expired=agents.of(Status.EXPIRED),
                drained=agents.of(Status.DRAINING),
                in_maintenance=agents.of(Status.MAINTENANCE),
                resumed=agents.of(Status.RESUMED),
            ),
            deliveries=performance_pb2.DeliveryCounts(
                succeeded=deliveries.of(Status.SUCCEEDED),
                failed=deliveries.of(Status.FAILED),
                retried=deliveries.of(Status.RETRIED),
            ),
        )

    async def _list(
        self,
        request: GetAgentPerformanceRequest | GetWorkflowPerformanceRequest,
        listed: Kind,
        only: str,
        *,
        compare: bool,
    ) -> Listing:
        page = page_of(request)
        now = self._clock.now()
        before = Cursor.parse(page.cursor) if page.cursor else None
        window = await self._window(
            request, [listed.metric], now, before.bucket if before else None
        )
        # A page is read at once, whatever its size: a long window makes it shorter.
        buckets = len(window.buckets) * (2 if compare else 1)
        page = Page(size=max(1, min(page.size, MOST_BUCKETS // buckets)), cursor=page.cursor)

        group = group_name(listed.metric, listed.dimension)
        ranking = [
            (listed.name_of(series), count)
            for series, count in await self._buckets.ranking(readable_organization(), group, window)
        ]
        if only:
            ranking = [(name, count) for name, count in ranking if name == only]
        if before:
            ranking = [(name, count) for name, count in ranking if before.precedes(name, count)]
        shown, token = cut(
            request,
            page,
            ranking,
            lambda each: str(Cursor(bucket=window.last, name=each[0], count=each[1])),
        )
        series = {listed.series_of(name): name for name, _ in shown}
        sums = await self._buckets.sums(readable_organization(), list(series), window)
        previous = (
            await self._buckets.sums(readable_organization(), list(series), window.before)
            if compare
            else {}
        )
        return Listing(
            window=window,
            length=min(now, window.end_time) - window.start_time,
            sums={name: sums[each] for each, name in series.items()},
            previous={series[each]: found for each, found in previous.items()},
            next_page_token=token,
        )

    async def _steps(
        self, workflow: str, window: Window
    ) -> Sequence[performance_pb2.StepPerformance]:
        group = group_name(Metric.STEPS, Dimension.WORKFLOW, Dimension.STEP)
        ours = workflow.removeprefix(WORKFLOWS.collection)
        ranking = await self._buckets.ranking(readable_organization(), group, window)
        busiest = [
            series
            for series, _ in ranking
            if parse_series(series).dimensions[Dimension.WORKFLOW] == ours
        ]
        sums = await self._buckets.sums(readable_organization(), busiest[:_MOST_STEPS], window)
        return [
            performance_pb2.StepPerformance(
                step=parse_series(series).dimensions[Dimension.STEP],
                counts=_step_counts(counted),
                success_ratio=success_ratio(counted),
                latency=latency_message(counted.latency()),
                attempts=counted.attempts,
                errors=counted.errors,
            )
            for series, counted in sums.items()
        ]


def _agent(listing: Listing, name: str) -> performance_pb2.AgentPerformance:
    sums = listing.sums[name]
    return performance_pb2.AgentPerformance(
        agent=name,
        calls=ended(sums),
        succeeded=sums.of(Status.SUCCEEDED),
        failed=sums.of(Status.FAILED),
        success_ratio=success_ratio(sums),
        latency=latency_message(sums.latency()),
        calls_per_minute=per(sums, listing.length, _MINUTE),
        tokens=sums.tokens,
        cost_micros=sums.cost_micros,
        errors=sums.errors,
        previous=listing.before(name),
    )


def _workflow(listing: Listing, name: str) -> performance_pb2.WorkflowPerformance:
    sums = listing.sums[name]
    return performance_pb2.WorkflowPerformance(
        workflow=name,
        executions=_executions(sums),
        success_ratio=success_ratio(sums),
        latency=latency_message(sums.latency()),
        executions_per_minute=per(sums, listing.length, _MINUTE),
        errors=sums.errors,
        previous=listing.before(name),
    )


def _executions(sums: Sums) -> performance_pb2.ExecutionCounts:
    return performance_pb2.ExecutionCounts(
        started=sums.of(Status.STARTED),
        succeeded=sums.of(Status.SUCCEEDED),
        failed=sums.of(Status.FAILED),
        cancelled=sums.of(Status.CANCELLED),
    )


def _step_counts(sums: Sums) -> performance_pb2.StepCounts:
    return performance_pb2.StepCounts(
        succeeded=sums.of(Status.SUCCEEDED),
        failed=sums.of(Status.FAILED),
        skipped=sums.of(Status.SKIPPED),
        retried=sums.of(Status.RETRIED),
    )
