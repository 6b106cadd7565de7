"""How the services are, as their administrators see it, and nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from brikk.monitoring.v1.health_pb2 import GetSystemHealthRequest, ServiceHealth, SystemHealth
from brikk.monitoring.v1.metrics_pb2 import MetricPoint, RecordMetricsRequest
from brikk_shared.identity import SYSTEM_ORGANIZATION
from brikk_shared.testing import ManualClock, Tokens, bearer
from support.monitoring import DEADLINE, Monitoring, monitoring

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
async def service(redis_url: str, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Monitoring]:
    tokens = Tokens(tmp_path, clock=clock)
    async with monitoring(redis_url, tokens, clock=clock) as service:
        yield service


async def report(service: Monitoring, name: str, **values: float) -> None:
    """Report as a service does; a negative value is a failure."""
    points = [
        MetricPoint(
            metric=metric.replace("__", "."),
            value=abs(value),
            service=name,
            outcome=(
                MetricPoint.OUTCOME_FAILED
                if value < 0
                else MetricPoint.OUTCOME_SUCCEEDED
                if metric in ("database__ping_ms", "api__calls_ms")
                else MetricPoint.OUTCOME_UNSPECIFIED
            ),
        )
        for metric, value in values.items()
    ]
    await service.performance.RecordMetrics(
        RecordMetricsRequest(request_id=name, points=points),
        metadata=bearer(service.tokens.internal("metrics.write"), SYSTEM_ORGANIZATION),
        timeout=DEADLINE,
    )


async def health(service: Monitoring, organization: str, *scopes: str) -> SystemHealth:
    token = service.tokens.user(organization, "metrics.read", *scopes)
    return await service.performance.GetSystemHealth(
        GetSystemHealthRequest(), metadata=bearer(token), timeout=DEADLINE
    )


async def test_each_service_is_judged_and_the_worst_is_the_whole(
    service: Monitoring, clock: ManualClock
) -> None:
    assert not (await health(service, SYSTEM_ORGANIZATION, "admin")).services
    await report(service, "webhooks", process__cpu_percent=5)
    clock.advance(timedelta(minutes=4))
    await report(
        service,
        "workflow",
        process__cpu_percent=50,
        process__memory_mib=200,
        process__loop_lag_ms=3,
        api__calls_ms=4,
        database__ping_ms=2,
    )
    await report(service, "discovery", process__cpu_percent=5, database__ping_ms=-1)
    found = await health(service, SYSTEM_ORGANIZATION, "admin")
    assert found.state == ServiceHealth.STATE_SILENT
    assert {each.service: each.state for each in found.services} == {
        "discovery": ServiceHealth.STATE_DEGRADED,
        "webhooks": ServiceHealth.STATE_SILENT,
        "workflow": ServiceHealth.STATE_HEALTHY,
    }
    discovery, webhooks, workflow = found.services
    assert (workflow.cpu_percent, workflow.memory_mib, workflow.calls) == (50, 200, 1)
    assert workflow.loop_lag_p99.ToTimedelta() / timedelta(milliseconds=3) == pytest.approx(
        1, rel=0.02
    )
    assert [(each.dependency, each.success_ratio) for each in discovery.dependencies] == [
        ("database", 0)
    ]
    assert webhooks.last_report_time.ToDatetime(UTC) == datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("organization", "scopes"), [("acme", ("admin",)), (SYSTEM_ORGANIZATION, ())]
)
async def test_only_administrators_of_the_system_may_ask(
    service: Monitoring, organization: str, scopes: tuple[str, ...]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await health(service, organization, *scopes)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
