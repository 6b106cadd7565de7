"""Who may ask and who may publish, and pages of a list that others cannot forge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from brikk.discovery.v1.discovery_service_pb2 import ListAgentsRequest
from brikk.event.v1.event_service_pb2 import PublishItem, PublishRequest
from brikk.monitoring.v1 import monitoring_service_pb2
from brikk.monitoring.v1.monitoring_service_pb2 import (
    GetAgentPerformanceRequest,
    GetCoordinationSummaryRequest,
    GetWorkflowPerformanceRequest,
)
from brikk.monitoring.v1.query_pb2 import (
    DIMENSION_AGENT,
    ExportMetricsRequest,
    QueryMetricsRequest,
)
from brikk.monitoring.v1.report_pb2 import (
    CreateReportRequest,
    GetReportRequest,
    ListReportsRequest,
    Report,
)
from brikk_shared.errors import BrikkError, Reason
from brikk_shared.pagination import next_token
from brikk_shared.status import from_rpc_error
from brikk_shared.testing import ManualClock, Tokens, bearer
from support.monitoring import (
    DEADLINE,
    GENERATION,
    Monitoring,
    execution,
    monitoring,
    numbered,
    step,
)

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
Metadata = tuple[tuple[str, str], ...]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def tokens(tmp_path: Path, clock: ManualClock) -> Tokens:
    return Tokens(tmp_path, clock=clock)


@pytest.fixture
async def service(redis_url: str, tokens: Tokens, clock: ManualClock) -> AsyncIterator[Monitoring]:
    async with monitoring(redis_url, tokens, clock=clock) as service:
        yield service


async def publish(service: Monitoring, metadata: Metadata) -> None:
    item = PublishItem(position=1, event=execution("started", NOW))
    request = PublishRequest(producer="workflow", generation=GENERATION, items=[item])
    await service.events.Publish(request, metadata=metadata, timeout=DEADLINE)


async def summary(service: Monitoring, metadata: Metadata) -> None:
    request = GetCoordinationSummaryRequest()
    await service.performance.GetCoordinationSummary(request, metadata=metadata, timeout=DEADLINE)


async def agents(service: Monitoring, metadata: Metadata) -> None:
    request = GetAgentPerformanceRequest()
    await service.performance.GetAgentPerformance(request, metadata=metadata, timeout=DEADLINE)


async def workflows(service: Monitoring, metadata: Metadata) -> None:
    request = GetWorkflowPerformanceRequest()
    await service.performance.GetWorkflowPerformance(request, metadata=metadata, timeout=DEADLINE)


async def query(service: Monitoring, metadata: Metadata) -> None:
    request = QueryMetricsRequest(metric="steps")
    await service.performance.QueryMetrics(request, metadata=metadata, timeout=DEADLINE)


async def export(service: Monitoring, metadata: Metadata) -> None:
    request = ExportMetricsRequest(
        query=QueryMetricsRequest(metric="steps"), format=ExportMetricsRequest.FORMAT_CSV
    )
    await service.performance.ExportMetrics(request, metadata=metadata, timeout=DEADLINE)


async def order_report(service: Monitoring, metadata: Metadata) -> None:
    request = CreateReportRequest(report=Report(kind=Report.KIND_AGENTS))
    await service.performance.CreateReport(request, metadata=metadata, timeout=DEADLINE)


async def report(service: Monitoring, metadata: Metadata) -> None:
    request = GetReportRequest(name="reports/r1")
    await service.performance.GetReport(request, metadata=metadata, timeout=DEADLINE)


async def reports(service: Monitoring, metadata: Metadata) -> None:
    await service.performance.ListReports(ListReportsRequest(), metadata=metadata, timeout=DEADLINE)


Call = Callable[[Monitoring, Metadata], Awaitable[None]]
CALLS: list[Call] = [
    publish,
    summary,
    agents,
    workflows,
    query,
    export,
    order_report,
    report,
    reports,
]


async def refused(service: Monitoring, call: Call, metadata: Metadata) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(service, metadata)
    error = from_rpc_error(raised.value)
    return (error.code, error.reason)


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_without_a_valid_token_is_refused(
    service: Monitoring, clock: ManualClock, call: Call
) -> None:
    user = service.tokens.user
    expired = user("acme", "metrics.read", lifetime=timedelta(minutes=1))
    elsewhere = user("acme", "metrics.read", audience="elsewhere")
    clock.advance(timedelta(minutes=2))
    assert await refused(service, call, ()) == ("UNAUTHENTICATED", Reason.TOKEN_MISSING)
    for token in ("junk", expired, elsewhere):
        answer = await refused(service, call, bearer(token))
        assert answer == ("UNAUTHENTICATED", Reason.TOKEN_INVALID)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("scope", ["workflow.*", "internal"])
async def test_a_user_without_the_scope_is_refused(
    service: Monitoring, call: Call, scope: str
) -> None:
    token = service.tokens.user("acme", scope)
    answer = await refused(service, call, bearer(token))
    assert answer == ("PERMISSION_DENIED", Reason.SCOPE_MISSING)
    assert (await service.summary()).executions.started == 0


async def test_another_organisation_sees_nothing_on_any_call(service: Monitoring) -> None:
    methods = monitoring_service_pb2.DESCRIPTOR.services_by_name["MonitoringService"].methods
    assert {method.name for method in methods} == {
        *("GetCoordinationSummary", "GetAgentPerformance", "ListSeries", "RecordMetrics"),
        *(f"{verb}RetentionPolicy" for verb in ("Create", "Get", "Update", "Delete")),
        "ListRetentionPolicies",
        *("GetWorkflowPerformance", "QueryMetrics", "ExportMetrics"),
        *("GetSystemHealth", "CreateReport", "GetReport", "ListReports"),
    }

    nothing = await service.summary("other")
    await service.publish(*numbered([execution("succeeded", NOW), step("failed", NOW)]))
    named = GetAgentPerformanceRequest(agent="agents/reader")
    assert await service.summary("other") == nothing
    assert not (await service.agents("other")).agents
    assert not (await service.agents("other", named)).agents
    assert (await service.summary("acme")).executions.succeeded == 1
    assert len((await service.agents("acme", named)).agents) == 1
    workflow = GetWorkflowPerformanceRequest(workflow="workflows/triage")
    by_agent = QueryMetricsRequest(metric="calls", group_by=[DIMENSION_AGENT])
    assert not (await service.workflows("other", workflow)).workflows
    assert not (await service.query(by_agent, "other")).groups
    assert len((await service.workflows("acme", workflow)).workflows) == 1
    assert len((await service.query(by_agent, "acme")).groups) == 1


async def test_pages_hold_every_agent_once_in_order(
    service: Monitoring, clock: ManualClock
) -> None:
    calls = {"agents/a": 2, "agents/b": 3, "agents/c": 2, "agents/d": 1, "agents/e": 2}
    events = [
        step("failed", NOW, agent=name) for name, count in calls.items() for _ in range(count)
    ]
    await service.publish(*numbered(events))

    request = GetAgentPerformanceRequest(page_size=2, window=Duration(seconds=60))
    pages: list[list[tuple[str, int]]] = []
    while True:
        answer = await service.agents("acme", request)
        pages.append([(agent.agent, agent.calls) for agent in answer.agents])
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
        clock.advance(timedelta(minutes=2))  # the window stays that of the first page
    assert pages == [
        [("agents/b", 3), ("agents/a", 2)],
        [("agents/c", 2), ("agents/e", 2)],
        [("agents/d", 1)],
    ]


async def test_a_page_is_as_large_as_asked_within_its_cap(service: Monitoring) -> None:
    names = [f"agents/a{number}" for number in range(60)]
    await service.publish(*numbered([step("failed", NOW, agent=name) for name in names]))

    async def size(page_size: int) -> int:
        request = GetAgentPerformanceRequest(page_size=page_size)
        return len((await service.agents("acme", request)).agents)

    assert [await size(asked) for asked in (0, 7, 60, 100_000)] == [50, 7, 60, 60]


@pytest.mark.parametrize(
    "token",
    [
        "junk",
        "====",
        next_token(GetAgentPerformanceRequest(), "junk"),
        next_token(GetAgentPerformanceRequest(), "1:2:executions"),
        next_token(GetAgentPerformanceRequest(), "9" * 40 + ":2:agents/a"),
        next_token(GetAgentPerformanceRequest(window=Duration(seconds=60)), "1:2:agents/a"),
        next_token(ListAgentsRequest(), "1:2:agents/a"),
    ],
)
async def test_a_page_token_of_another_making_is_refused(service: Monitoring, token: str) -> None:
    error = await invalid(service, GetAgentPerformanceRequest(page_token=token))
    assert error.reason is Reason.INVALID_PAGE_TOKEN
    assert [violation.field for violation in error.violations] == ["page_token"]


async def test_a_forged_token_leads_nowhere_else(service: Monitoring) -> None:
    await service.publish(*numbered([step("failed", NOW, organization="other")]))
    for cursor in ("999999999:9:agents/a", "0:9:agents/a"):
        token = next_token(GetAgentPerformanceRequest(), cursor)
        answer = await service.agents("acme", GetAgentPerformanceRequest(page_token=token))
        assert not answer.agents


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (GetAgentPerformanceRequest(page_size=-1), "page_size"),
        (GetAgentPerformanceRequest(agent="reader"), "agent"),
        (GetAgentPerformanceRequest(window=Duration(seconds=0)), "window"),
        (GetAgentPerformanceRequest(window=Duration(seconds=34560001)), "window"),
    ],
)
async def test_bad_fields_are_named(
    service: Monitoring, request_: GetAgentPerformanceRequest, field: str
) -> None:
    error = await invalid(service, request_)
    assert error.reason is Reason.INVALID_FIELD
    assert [violation.field for violation in error.violations] == [field]


async def invalid(service: Monitoring, request: GetAgentPerformanceRequest) -> BrikkError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.agents("acme", request)
    error = from_rpc_error(raised.value)
    assert error.code == "INVALID_ARGUMENT"
    return error
