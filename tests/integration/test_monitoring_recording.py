"""What callers report themselves counts once and is bounded; the services report apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from redis.asyncio import Redis

from brikk.monitoring.v1.metrics_pb2 import ListSeriesRequest, MetricPoint, RecordMetricsRequest
from brikk_monitoring.domain.measurement import Status, Sums
from brikk_monitoring.domain.window import Resolution, Window
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.connection import connect
from brikk_shared.errors import Reason
from brikk_shared.status import from_rpc_error, from_status
from brikk_shared.testing import ManualClock, Tokens, bearer
from support.monitoring import DEADLINE, Monitoring, monitoring

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
SUCCEEDED, FAILED = MetricPoint.OUTCOME_SUCCEEDED, MetricPoint.OUTCOME_FAILED


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


async def sums(redis_url: str, series: str, organization: str = "acme") -> Sums:
    window = Window.ending_in(Resolution.MINUTE.bucket_of(NOW), timedelta(hours=1))
    async with connect(redis_url) as redis:
        return (await Buckets(redis).sums(organization, [series], window))[series]


async def test_points_count_once_for_ten_minutes(
    service: Monitoring, clock: ManualClock, redis_url: str
) -> None:
    points = [
        MetricPoint(metric="queue.wait_ms", value=20, agent="reader"),
        MetricPoint(metric="queue.wait_ms", value=40, outcome=FAILED, count=3),
        MetricPoint(metric="queue.passed", outcome=SUCCEEDED, time=at(NOW - timedelta(minutes=9))),
    ]
    for _ in range(2):
        answer = await service.record(*points, request_id="again")
        assert not answer.refusals
    waits = await sums(redis_url, "queue.wait_ms")
    assert (waits.of(Status.OBSERVED), waits.of(Status.FAILED), waits.total) == (1, 3, 140)
    assert (await sums(redis_url, "queue.wait_ms;agent=reader")).count == 1
    assert (await sums(redis_url, "queue.passed")).of(Status.SUCCEEDED) == 1
    assert service.metric("brikk_monitoring_ingested_total", result="repeated") == 3
    async with Redis.from_url(redis_url) as redis:
        assert 0 < await redis.ttl("brikk:monitoring:{acme}:mark:request:again") <= 600


async def test_a_point_is_refused_by_itself(service: Monitoring, redis_url: str) -> None:
    answer = await service.record(
        MetricPoint(metric="queue.passed"),
        MetricPoint(metric="queue.passed", time=at(NOW + timedelta(minutes=6))),
        MetricPoint(metric="executions"),
    )
    reasons = [(each.index, from_status(each.status).reason) for each in answer.refusals]
    assert reasons == [(1, Reason.EVENT_IN_FUTURE), (2, Reason.INVALID_FIELD)]
    assert (await sums(redis_url, "queue.passed")).count == 1
    assert (await sums(redis_url, "executions")).count == 0


async def test_sums_that_are_full_stop_nothing(service: Monitoring, redis_url: str) -> None:
    most = MetricPoint(metric="queue.bytes", value=1e300, count=1_000_000)
    await service.record(*[most] * 500)
    await service.record(MetricPoint(metric="queue.passed"))
    assert (await sums(redis_url, "queue.bytes")).count == 500_000_000
    assert (await sums(redis_url, "queue.passed")).count == 1


async def test_names_without_end_take_no_more_than_the_cap(
    redis_url: str, tokens: Tokens, clock: ManualClock
) -> None:
    async with monitoring(redis_url, tokens, clock=clock, series_cap=5) as service:
        points = [MetricPoint(metric=f"m{number}", agent="a") for number in range(100)]
        await service.record(*points)
        answer = await service.performance.ListSeries(
            ListSeriesRequest(), metadata=service.reader("acme"), timeout=DEADLINE
        )
        assert (answer.series_count, answer.series_limit) == (5, 5)
        assert sum([(await sums(redis_url, name)).count for name in ("-", "-;agent=-")]) == 195
        async with Redis.from_url(redis_url) as redis:
            assert len(await redis.keys("*:minute:*")) <= 5 + 2 + 4


async def test_the_services_report_under_an_organisation_of_their_own(
    service: Monitoring, clock: ManualClock, redis_url: str
) -> None:
    request = RecordMetricsRequest(request_id="r", points=[MetricPoint(metric="x")])
    pretender = bearer(service.tokens.user("system", "metrics.write", "admin"))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.performance.RecordMetrics(request, metadata=pretender, timeout=DEADLINE)
    error = from_rpc_error(raised.value)
    assert (error.reason, error.metadata) == (Reason.SCOPE_MISSING, {"scope": "internal"})
    await service.performance.RecordMetrics(
        request,
        metadata=bearer(service.tokens.internal("metrics.write"), "system"),
        timeout=DEADLINE,
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.summary("system")
    error = from_rpc_error(raised.value)
    assert (error.reason, error.metadata) == (Reason.SCOPE_MISSING, {"scope": "admin"})


async def test_a_service_reports_what_it_needs_of_its_machine(
    service: Monitoring, clock: ManualClock, redis_url: str
) -> None:
    await service.summary()
    metric = "process.memory_mib;service=monitoring"
    while not (memory := await sums(redis_url, metric, "system")).count:
        await clock.sleeping()
        clock.advance(timedelta(seconds=1))
    assert 10 < memory.quantile(500) < 10_000
    for name, count in {
        "process.cpu_percent": 1,
        "process.open_files": 1,
        "process.loop_lag_ms": 15,
        "api.calls_ms": 1,
        "redis.ping_ms": 1,
        "database.ping_ms": 1,
    }.items():
        found = await sums(redis_url, f"{name};service=monitoring", "system")
        assert (found.count, found.of(Status.FAILED)) == (count, 0), name


def at(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
