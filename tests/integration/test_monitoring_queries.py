"""Questions about what was published: ranges, steps, groups, comparison, files, and the cache."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from brikk.event.v1.event_pb2 import Event
from brikk.monitoring.v1 import query_pb2 as pb
from brikk.monitoring.v1.monitoring_service_pb2 import (
    GetAgentPerformanceRequest,
    GetCoordinationSummaryRequest,
    GetWorkflowPerformanceRequest,
)
from brikk_shared.event import make_event
from brikk_shared.status import from_rpc_error
from brikk_shared.testing import ManualClock, Tokens
from support.monitoring import DEADLINE, Monitoring, execution, monitoring, numbered

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
COUNT, P50, RATIO = pb.AGGREGATION_COUNT, pb.AGGREGATION_P50, pb.AGGREGATION_SUCCESS_RATIO


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def tokens(tmp_path: Path, clock: ManualClock) -> Tokens:
    return Tokens(tmp_path, clock=clock)


@pytest.fixture
async def service(redis_url: str, tokens: Tokens, clock: ManualClock) -> AsyncIterator[Monitoring]:
    async with monitoring(redis_url, tokens, clock=clock) as service:
        await service.publish(*numbered(history()))
        yield service


def step(
    time: datetime, *, workflow: str, step: str, agent: str, ms: float, reason: str = ""
) -> Event:
    data: dict[str, object] = {
        "workflow": workflow,
        "step": step,
        "agent": f"agents/{agent}",
        "capability": f"text.{step}",
        "attempts": 2,
        "duration_ms": ms,
        "latency_ms": ms / 2,
        "tokens": 10,
        "cost_micros": 3,
    }
    if reason:
        data["reason"] = reason
    return make_event(
        source="brikk.workflow",
        type=f"brikk.step.{'failed' if reason else 'succeeded'}.v1",
        subject="executions/e1",
        organization="acme",
        sequence=1,
        time=time,
        data=data,
    )


def history() -> list[Event]:
    """Two workflows today, one of them also half an hour ago, and one yesterday."""
    events = [
        step(NOW, workflow="triage", step="read", agent="a", ms=100.0),
        step(NOW, workflow="triage", step="read", agent="a", ms=200.0),
        step(NOW, workflow="triage", step="write", agent="b", ms=400.0, reason="STEP_TIMEOUT"),
        step(NOW, workflow="billing", step="read", agent="a", ms=800.0),
        step(NOW - 30 * MINUTE, workflow="triage", step="read", agent="b", ms=50.0),
        step(NOW - 90 * MINUTE, workflow="triage", step="read", agent="b", ms=70.0),
        step(NOW - DAY, workflow="triage", step="read", agent="a", ms=900.0),
    ]
    return [*events, *(execution("started", NOW) for _ in range(3)), execution("succeeded", NOW)]


def timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


async def test_groups_are_told_apart_and_added_up(service: Monitoring) -> None:
    request = pb.QueryMetricsRequest(metric="steps", aggregations=[COUNT, P50, RATIO])
    [everything] = (await service.query(request)).groups
    assert everything.total.values[0] == 5
    assert everything.total.values[1] == pytest.approx(200, rel=0.02)
    assert everything.total.values[2] == 0.8
    assert everything.total.counts == {"succeeded": 4, "failed": 1}
    assert everything.total.errors == {"STEP_TIMEOUT": 1}

    async def counted(**more: object) -> dict[tuple[str, ...], float]:
        asked = pb.QueryMetricsRequest(metric="steps", **more)  # type: ignore[arg-type] # any field
        groups = (await service.query(asked)).groups
        return {tuple(each.dimensions.values()): each.total.values[0] for each in groups}

    workflow, by_step = pb.DIMENSION_WORKFLOW, pb.DIMENSION_STEP
    assert await counted(group_by=[workflow]) == {("triage",): 4, ("billing",): 1}
    assert await counted(group_by=[by_step]) == {("read",): 4, ("write",): 1}
    assert await counted(group_by=[workflow], top=1) == {("triage",): 4}
    triage = pb.DimensionFilter(dimension=workflow, value="triage")
    assert await counted(filters=[triage], group_by=[by_step]) == {("read",): 3, ("write",): 1}
    assert await counted(filters=[triage]) == {(): 4}
    assert await counted(filters=[pb.DimensionFilter(dimension=workflow, value="none")]) == {}


async def test_points_follow_one_another_and_are_compared(service: Monitoring) -> None:
    request = pb.QueryMetricsRequest(
        metric="calls",
        group_by=[pb.DIMENSION_AGENT],
        aggregations=[COUNT, pb.AGGREGATION_TOKENS, pb.AGGREGATION_RATE],
        start_time=timestamp(NOW - 60 * MINUTE),
        step=Duration(seconds=1800),
        compare=True,
    )
    answer = await service.query(request)
    assert [each.dimensions["agent"] for each in answer.groups] == ["a", "b"]
    a, b = answer.groups
    assert [list(each.values.values) for each in a.points] == [[0, 0, 0], [0, 0, 0], [3, 30, 0.1]]
    assert [each.values.values[0] for each in b.points] == [0, 1, 1]
    assert b.points[1].start_time.ToDatetime(UTC) == datetime(2026, 3, 1, 11, 30, tzinfo=UTC)
    assert (list(b.total.values[:2]), b.previous.values[0]) == ([2, 20], 1)
    days = pb.QueryMetricsRequest(
        metric="steps", start_time=timestamp(NOW - 2 * DAY), step=Duration(seconds=86400)
    )
    [group] = (await service.query(days)).groups
    assert [each.values.values[0] for each in group.points] == [0, 1, 6]


async def test_answers_are_written_to_files(service: Monitoring) -> None:
    query = pb.QueryMetricsRequest(
        metric="steps", aggregations=[COUNT, RATIO], group_by=[pb.DIMENSION_WORKFLOW], compare=True
    )

    async def file(form: pb.ExportMetricsRequest.Format.ValueType) -> str:
        answer = await service.performance.ExportMetrics(
            pb.ExportMetricsRequest(query=query, format=form),
            metadata=service.reader("acme"),
            timeout=DEADLINE,
        )
        return answer.content.decode()

    rows = list(csv.reader(io.StringIO(await file(pb.ExportMetricsRequest.FORMAT_CSV))))
    names = ["start_time", "workflow", "count", "success_ratio"]
    assert rows[0] == [*names, "previous_count", "previous_success_ratio"]
    assert [row[1:] for row in rows[1:]] == [
        ["triage", "4.0", "0.75", "1.0", "1.0"],
        ["billing", "1.0", "1.0", "0.0", "0.0"],
    ]
    document = json.loads(await file(pb.ExportMetricsRequest.FORMAT_JSON))
    assert [each["dimensions"] for each in document["groups"]] == [
        {"workflow": "triage"},
        {"workflow": "billing"},
    ]
    query.step.FromTimedelta(60 * MINUTE)
    rows = list(csv.reader(io.StringIO(await file(pb.ExportMetricsRequest.FORMAT_CSV))))
    assert rows[0] == names
    assert rows[1:3] == [
        ["2026-03-01T11:00:00Z", "triage", "1.0", "1.0"],
        ["2026-03-01T12:00:00Z", "triage", "3.0", str(2 / 3)],
    ]


async def test_a_workflow_is_shown_with_its_steps(service: Monitoring) -> None:
    [workflow] = (await service.workflows()).workflows
    assert (workflow.workflow, workflow.executions.started) == ("workflows/triage", 3)
    assert (workflow.executions.succeeded, workflow.success_ratio) == (1, 1)
    assert not workflow.steps
    assert not workflow.HasField("previous")
    request = GetWorkflowPerformanceRequest(workflow="workflows/triage", compare=True)
    [workflow] = (await service.workflows("acme", request)).workflows
    assert workflow.previous.count == 0
    assert [(each.step, each.counts.succeeded, each.attempts) for each in workflow.steps] == [
        ("read", 3, 6),
        ("write", 0, 2),
    ]
    assert workflow.steps[1].errors == {"STEP_TIMEOUT": 1}


async def test_windows_reach_as_far_back_as_days_are_held(service: Monitoring) -> None:
    request = GetAgentPerformanceRequest(window=Duration(seconds=400 * 86400), page_size=500)
    agents = (await service.agents("acme", request)).agents
    assert [(each.agent, each.calls) for each in agents] == [("agents/a", 4), ("agents/b", 3)]
    assert (agents[0].tokens, agents[0].cost_micros) == (40, 12)
    hour = GetAgentPerformanceRequest(compare=True)
    b = (await service.agents("acme", hour)).agents[1]
    assert (b.calls, b.previous.count, dict(b.errors)) == (2, 1, {"STEP_TIMEOUT": 1})


async def test_the_summary_tells_of_everything_and_of_the_time_before(
    service: Monitoring,
) -> None:
    summary = await service.performance.GetCoordinationSummary(
        GetCoordinationSummaryRequest(compare=True),
        metadata=service.reader("acme"),
        timeout=DEADLINE,
    )
    assert (summary.calls.succeeded, summary.calls.failed, summary.calls.tokens) == (4, 1, 50)
    assert summary.active_agents == 2
    assert summary.previous.calls.succeeded == 1
    assert summary.previous.end_time == summary.start_time


async def test_answers_are_kept_for_a_moment(
    redis_url: str, tokens: Tokens, clock: ManualClock
) -> None:
    ttl = timedelta(seconds=5)
    async with monitoring(redis_url, tokens, clock=clock, answers_ttl=ttl) as service:
        nothing = await service.summary()
        await service.publish(*numbered(history()))
        assert await service.summary() == nothing
        assert (await service.summary(window=2 * MINUTE)).executions.started == 3
        clock.advance(ttl)
        assert (await service.summary()).executions.started == 3
        assert not (await service.summary("other")).executions.started


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.QueryMetricsRequest(), "metric"),
        (pb.QueryMetricsRequest(metric="calls", group_by=[pb.DIMENSION_WORKFLOW]), "group_by"),
        (
            pb.QueryMetricsRequest(metric="steps", group_by=[pb.DIMENSION_STEP] * 2),
            "group_by[1]",
        ),
        (
            pb.QueryMetricsRequest(
                metric="steps", aggregations=[COUNT, pb.AGGREGATION_UNSPECIFIED]
            ),
            "aggregations[1]",
        ),
        (pb.QueryMetricsRequest(metric="steps", step=Duration(seconds=90)), "step"),
        (
            pb.QueryMetricsRequest(
                metric="steps", start_time=timestamp(NOW - 2 * DAY), step=Duration(seconds=60)
            ),
            "step",
        ),
        (pb.QueryMetricsRequest(metric="steps", start_time=timestamp(NOW)), "start_time"),
        (
            pb.QueryMetricsRequest(
                metric="steps",
                group_by=[pb.DIMENSION_STEP],
                start_time=timestamp(NOW - 3650 * DAY),
                compare=True,
            ),
            "top",
        ),
    ],
)
async def test_questions_that_cannot_be_answered_say_why(
    service: Monitoring, request_: pb.QueryMetricsRequest, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.query(request_)
    error = from_rpc_error(raised.value)
    assert error.code == "INVALID_ARGUMENT"
    assert [violation.field for violation in error.violations] == [field]
