"""Reports: ordered once, made beside the calls also after a crash, and kept for a time."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from redis.asyncio import Redis
from sqlalchemy import text

from brikk.monitoring.v1 import report_pb2 as pb
from brikk_monitoring.domain.report import Kind, Report, harmless
from brikk_monitoring.runtime.reporting import Reporter
from brikk_monitoring.settings import MonitoringSettings
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.connection import connect
from brikk_monitoring.store.keys import PENDING_REPORTS
from brikk_monitoring.store.policies import Policies
from brikk_monitoring.store.reports import Reports
from brikk_shared.database import Database
from brikk_shared.errors import Reason, Unavailable
from brikk_shared.status import from_rpc_error
from brikk_shared.testing import ManualClock, Tokens
from support.losing_proxy import LosingProxy
from support.monitoring import DEADLINE, Monitoring, execution, monitoring, numbered, step

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
YEAR = Duration(seconds=365 * 86400)


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


async def order(
    service: Monitoring,
    kind: pb.Report.Kind.ValueType = pb.Report.KIND_AGENTS,
    *,
    request_id: str = "",
    window: Duration | None = None,
    organization: str = "acme",
) -> pb.Report:
    request = pb.CreateReportRequest(
        report=pb.Report(kind=kind, window=window), request_id=request_id
    )
    return await service.performance.CreateReport(
        request, metadata=service.reader(organization), timeout=DEADLINE
    )


async def get(service: Monitoring, name: str, organization: str = "acme") -> pb.Report:
    return await service.performance.GetReport(
        pb.GetReportRequest(name=name), metadata=service.reader(organization), timeout=DEADLINE
    )


async def made(service: Monitoring, name: str) -> list[dict[str, str]]:
    """The rows of a report, once it is made."""
    report = await get(service, name)
    while report.state == pb.Report.STATE_PENDING:
        report = await get(service, name)
    return list(csv.DictReader(io.StringIO(report.content.decode())))


async def listed(
    service: Monitoring, organization: str = "acme", **more: object
) -> pb.ListReportsResponse:
    request = pb.ListReportsRequest(**more)  # type: ignore[arg-type] # any field
    return await service.performance.ListReports(
        request, metadata=service.reader(organization), timeout=DEADLINE
    )


async def test_a_report_holds_everything_of_its_kind(service: Monitoring) -> None:
    long_ago = NOW - timedelta(days=200)
    events = [step("failed", NOW, agent="agents/a"), step("succeeded", long_ago, agent="agents/b")]
    events += [step("succeeded", NOW, agent="agents/b", latency_ms=30.0)]
    events += [execution("succeeded", NOW), execution("started", long_ago)]
    await service.publish(*numbered(events))
    kinds = (pb.Report.KIND_AGENTS, pb.Report.KIND_WORKFLOWS, pb.Report.KIND_STEPS)
    reports = [await order(service, kind, window=YEAR) for kind in kinds]
    agents, workflows, steps = [await made(service, each.name) for each in reports]
    assert [(each["agent"], each["count"], each["success_ratio"]) for each in agents] == [
        ("b", "2", "1.0"),
        ("a", "1", "0.0"),
    ]
    assert float(agents[0]["p99"]) == pytest.approx(30, rel=0.02)
    assert [(each["workflow"], each["count"]) for each in workflows] == [("triage", "1")]
    assert [(each["step"], each["succeeded"], each["failed"]) for each in steps] == [
        ("read", "2", "1")
    ]
    day = await order(service)
    assert [each["agent"] for each in await made(service, day.name)] == ["a", "b"]


async def test_an_order_is_taken_once_and_stays_with_its_organisation(
    service: Monitoring, clock: ManualClock
) -> None:
    first = await order(service, request_id="again")
    clock.advance(timedelta(seconds=1))
    assert (await order(service, request_id="again")).name == first.name
    other = await order(service, request_id="again", organization="other")
    assert other.name != first.name
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await order(service, request_id="again", window=YEAR)
    assert from_rpc_error(raised.value).reason is Reason.REQUEST_ID_REUSED
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await get(service, first.name, "other")
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    second = await order(service)
    page = await listed(service, page_size=1)
    assert [each.name for each in page.reports] == [second.name]
    rest = await listed(service, page_size=1, page_token=page.next_page_token)
    assert [each.name for each in rest.reports] == [first.name]
    assert [each.name for each in (await listed(service, "other")).reports] == [other.name]


async def test_what_a_crash_left_is_made_and_no_more_waits_than_may(
    redis_url: str, tokens: Tokens, clock: ManualClock
) -> None:
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        reports = Reports(redis)

        async def leave() -> None:
            for number in range(20):
                left = Report(
                    id=f"r{number:02}", kind=Kind.AGENTS, window=timedelta(days=1), create_time=NOW
                )
                await reports.order("acme", left)

        await leave()
        await redis.delete(PENDING_REPORTS)  # so that they wait on
        async with monitoring(redis_url, tokens, clock=clock) as service:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await order(service)
            assert from_rpc_error(raised.value).reason is Reason.QUOTA_EXCEEDED
        await leave()
        assert len(await reports.pending(100)) == 20
        async with monitoring(redis_url, tokens, clock=clock) as service:
            for number in range(20):
                assert await made(service, f"reports/r{number:02}") == []
            while await reports.pending(1):
                await listed(service)
            assert {each.state for each in (await listed(service)).reports} == {
                pb.Report.STATE_SUCCEEDED
            }
        for key in [each async for each in redis.scan_iter("*report*")]:
            assert 0 < await redis.ttl(key) <= 7 * 86400


async def test_an_order_that_broke_off_loses_no_report_and_is_forgotten_in_time(
    redis_url: str, clock: ManualClock
) -> None:
    wanted = Report(id="r1", kind=Kind.AGENTS, window=timedelta(days=1), create_time=NOW)
    parts = urlsplit(redis_url)
    losing = LosingProxy(parts.hostname or "", parts.port or 0)
    async with (
        losing.listening() as port,
        connect(f"redis://127.0.0.1:{port}{parts.path}") as breaking,
        connect(redis_url) as redis,
    ):
        reports = Reports(redis)
        policies = Policies(redis, MonitoringSettings().retention)
        reporter = Reporter(reports, Buckets(redis), policies, clock)
        losing.lose_reply(b"ZADD", stay_down=True)
        with pytest.raises(Unavailable):
            await Reports(breaking).order("acme", wanted)
        assert not await reporter.work()
        assert [each[:2] for each in await reports.pending(2)] == [("acme", "r1")]
        await reports.order("acme", wanted)
        await reporter.work()
        made = await reports.get("acme", "r1")
        assert made is not None
        assert made.content is not None
        assert await reports.pending(2) == []

        await redis.zadd(PENDING_REPORTS, {"acme/r2": NOW.timestamp()})
        clock.advance(timedelta(minutes=1))
        await reporter.work()
        assert await reports.pending(2) == []


async def test_an_order_is_audited(
    redis_url: str, database_url: str, tokens: Tokens, clock: ManualClock
) -> None:
    async with (
        monitoring(redis_url, tokens, clock=clock, database_url=database_url) as service,
    ):
        await order(service, request_id="mine")
    async with (
        Database(database_url, migrations="brikk_monitoring.store.migrations") as database,
        database.reading() as connection,
    ):
        rows = await connection.execute(text("SELECT organization, method FROM audit_entry"))
        assert [tuple(row) for row in rows] == [
            ("acme", "/brikk.monitoring.v1.MonitoringService/CreateReport")
        ]


def test_no_cell_is_a_formula() -> None:
    assert [harmless(each) for each in ("=1+1", "@x", "-", "text.read")] == [
        *("'=1+1", "'@x", "-", "text.read")
    ]
