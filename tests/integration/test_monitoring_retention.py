"""Organisations decide how long what is held, see what it costs, and memory grows no further."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from redis.asyncio import Redis

from brikk.monitoring.v1 import metrics_pb2 as pb
from brikk_shared.errors import BrikkError, Reason
from brikk_shared.status import from_rpc_error
from brikk_shared.testing import ManualClock, Tokens
from support.monitoring import DEADLINE, Monitoring, execution, monitoring, numbered, step

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
HOUR, DAY = 3600, 86_400


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


def policy(minutes: int = HOUR, hours: int = DAY, days: int = 30 * DAY) -> pb.RetentionPolicy:
    return pb.RetentionPolicy(
        minutes=Duration(seconds=minutes),
        hours=Duration(seconds=hours),
        days=Duration(seconds=days),
    )


async def create(
    service: Monitoring, metric: str, wanted: pb.RetentionPolicy, organization: str = "acme"
) -> pb.RetentionPolicy:
    return await service.performance.CreateRetentionPolicy(
        pb.CreateRetentionPolicyRequest(retention_policy_id=metric, retention_policy=wanted),
        metadata=service.admin(organization),
        timeout=DEADLINE,
    )


async def update(
    service: Monitoring, name: str, wanted: pb.RetentionPolicy, etag: str = ""
) -> pb.RetentionPolicy:
    return await service.performance.UpdateRetentionPolicy(
        pb.UpdateRetentionPolicyRequest(name=name, retention_policy=wanted, etag=etag),
        metadata=service.admin(),
        timeout=DEADLINE,
    )


async def listed(
    service: Monitoring, organization: str = "acme", metric: str = ""
) -> pb.ListSeriesResponse:
    return await service.performance.ListSeries(
        pb.ListSeriesRequest(metric=metric), metadata=service.reader(organization), timeout=DEADLINE
    )


async def refused(call: object) -> BrikkError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call  # type: ignore[misc]  # what a stub's method gives
    return from_rpc_error(raised.value)


async def test_policies_are_created_read_changed_and_deleted(service: Monitoring) -> None:
    stub, metadata = service.performance, service.admin()
    default = await create(service, "default", policy())
    assert (default.name, default.buckets_per_series) == ("retentionPolicies/default", 61 + 25 + 31)
    assert await create(service, "default", policy()) == default
    error = await refused(create(service, "default", policy(minutes=2 * HOUR)))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", Reason.RESOURCE_EXISTS)
    steps = await create(service, "steps", policy(days=DAY))

    get = pb.GetRetentionPolicyRequest(name=steps.name)
    assert await stub.GetRetentionPolicy(get, metadata=metadata, timeout=DEADLINE) == steps
    request = pb.ListRetentionPoliciesRequest(page_size=1)
    names: list[str] = []
    while not names or request.page_token:
        page = await stub.ListRetentionPolicies(request, metadata=metadata, timeout=DEADLINE)
        names += [each.name for each in page.retention_policies]
        request.page_token = page.next_page_token
    assert names == ["retentionPolicies/default", "retentionPolicies/steps"]

    changed = await update(service, steps.name, policy(days=2 * DAY), steps.etag)
    assert changed.etag != steps.etag
    error = await refused(update(service, steps.name, policy(), steps.etag))
    assert (error.code, error.reason) == ("ABORTED", Reason.ETAG_MISMATCH)

    delete = pb.DeleteRetentionPolicyRequest(name=steps.name)
    await stub.DeleteRetentionPolicy(delete, metadata=metadata, timeout=DEADLINE)
    for call in (
        stub.GetRetentionPolicy(get, metadata=metadata, timeout=DEADLINE),
        stub.DeleteRetentionPolicy(delete, metadata=metadata, timeout=DEADLINE),
        update(service, steps.name, policy()),
        stub.GetRetentionPolicy(
            pb.GetRetentionPolicyRequest(name=default.name),
            metadata=service.admin("zenith"),
            timeout=DEADLINE,
        ),
    ):
        assert (await refused(call)).reason is Reason.RESOURCE_NOT_FOUND


async def test_a_policy_decides_what_is_held_and_what_it_costs(
    service: Monitoring, clock: ManualClock, redis_url: str
) -> None:
    await create(service, "default", policy(minutes=HOUR))
    await create(service, "steps", policy(minutes=600, hours=HOUR, days=DAY))
    events = [execution("started", NOW - timedelta(minutes=50)), step("skipped", NOW)]
    events += [step("skipped", NOW - timedelta(days=3))]
    await service.publish(*numbered([*events, execution("started", NOW, organization="zenith")]))
    assert service.metric("brikk_monitoring_ingested_total", result="expired") == 1
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        longest = {"minute": 660, "hour": 2 * HOUR, "day": 2 * DAY}
        keys = [key async for key in redis.scan_iter("*{acme}*steps*")]
        assert len(keys) == 3 * (3 + 2)
        for key in keys:
            assert await redis.ttl(key) <= longest[key.split(":")[3]]
        assert await redis.ttl("brikk:monitoring:{acme}:retention") == -1

    answer = await listed(service)
    costs = {each.series: (each.buckets, each.estimated_bytes > 0) for each in answer.series}
    assert costs == {
        "executions": (61 + 25 + 31, True),
        "executions;workflow=triage": (61 + 25 + 31, True),
        "steps": (11 + 2 + 2, True),
        "steps;workflow=triage": (11 + 2 + 2, True),
        "steps;workflow=triage;step=read": (11 + 2 + 2, True),
    }
    assert (answer.series_count, answer.series_limit) == (5, 500)
    [_, by_workflow] = (await listed(service, metric="executions")).series
    assert dict(by_workflow.dimensions) == {"workflow": "triage"}
    [series, _] = (await listed(service, "zenith")).series
    assert series.buckets == 181 + 169 + 401


async def test_memory_stops_growing_once_everything_is_held_as_long_as_it_is(
    service: Monitoring, clock: ManualClock, redis_url: str
) -> None:
    await create(service, "default", policy(minutes=600, hours=DAY, days=3 * DAY))
    sizes, position = [], 0
    async with Redis.from_url(redis_url) as redis:
        for _day in range(21):
            for _ in range(6):
                events = [
                    step("succeeded", clock.now(), agent=f"agents/a{position % 40 + each}")
                    for each in range(5)
                ]
                await service.publish(*numbered(events, first=position + 1))
                position += len(events)
                clock.advance(timedelta(hours=4))
                await _forget(redis, clock)
            sizes.append(len([key async for key in redis.scan_iter("*{acme}*", count=1000)]))
        assert max(sizes[7:]) <= max(sizes[4:7])
        keys = [key async for key in redis.scan_iter(count=1000)]
        without_end = [key for key in keys if await redis.ttl(key) == -1]
    assert without_end == [b"brikk:monitoring:{acme}:retention"]


async def _forget(redis: Redis, clock: ManualClock) -> None:
    """Do what the server would have done by now: its clock does not follow ours."""
    async with redis.pipeline(transaction=False) as pipe:
        keys = [key async for key in redis.scan_iter("*", count=1000)]
        for key in keys:
            pipe.ttl(key)
        for key, ttl in zip(keys, await pipe.execute(), strict=True):
            if ttl != -1 and ttl <= 4 * HOUR:
                pipe.delete(key)
            elif ttl != -1:
                pipe.expire(key, ttl - 4 * HOUR)
        await pipe.execute()
