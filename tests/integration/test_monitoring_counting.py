"""What is published is what the summaries say."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishRefusal
from brikk.monitoring.v1.performance_pb2 import AgentPerformance, ExecutionCounts, StepCounts
from brikk_monitoring.domain.measurement import Status
from brikk_monitoring.domain.window import Resolution, Window
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.connection import connect
from brikk_shared.status import from_status
from brikk_shared.testing import ManualClock, Tokens
from support.monitoring import Monitoring, execution, monitoring, numbered, step

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
ERROR = 0.02


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


async def test_executions_and_steps_are_counted_and_timed(service: Monitoring) -> None:
    events = [execution("started", NOW) for _ in range(5)]
    events += [execution("succeeded", NOW, duration_ms=ms) for ms in (100.0, 200.0)]
    events += [execution("failed", NOW, duration_ms=400.0)]
    events += [execution("cancelled", NOW, duration_ms=500.0)]
    events += [step("succeeded", NOW, duration_ms=float(ms)) for ms in range(1, 101)]
    events += [step("failed", NOW, duration_ms=1000.0), step("skipped", NOW), step("retrying", NOW)]
    answer = await service.publish(*numbered(events))
    assert (answer.mark, len(answer.refusals)) == (len(events), 0)

    summary = await service.summary()
    assert summary.executions == ExecutionCounts(started=5, succeeded=2, failed=1, cancelled=1)
    assert summary.steps == StepCounts(succeeded=100, failed=1, skipped=1, retried=1)
    assert summary.success_ratio == 0.5
    latency = summary.execution_latency
    assert latency.count == 4
    assert latency.mean.ToTimedelta() == timedelta(milliseconds=300)
    assert latency.p50.ToTimedelta() / timedelta(milliseconds=200) == pytest.approx(1, rel=ERROR)
    latency = summary.step_latency
    assert latency.count == 101
    assert latency.p95.ToTimedelta() / timedelta(milliseconds=96) == pytest.approx(1, rel=ERROR)
    assert latency.p99.ToTimedelta() / timedelta(milliseconds=100) == pytest.approx(1, rel=ERROR)
    assert summary.start_time.ToDatetime(UTC) == datetime(2026, 3, 1, 11, 0, tzinfo=UTC)
    assert summary.end_time.ToDatetime(UTC) == NOW


async def test_nothing_counted_is_all_zero(service: Monitoring) -> None:
    summary = await service.summary()
    assert summary.executions == ExecutionCounts()
    assert summary.success_ratio == 0
    assert summary.step_latency.count == 0
    assert not (await service.agents()).agents


async def test_calls_are_counted_by_agent_busiest_first(service: Monitoring) -> None:
    events = [step("succeeded", NOW, agent="agents/b", latency_ms=10.0) for _ in range(3)]
    events += [step("retrying", NOW, agent="agents/b", latency_ms=40.0)]
    events += [step("failed", NOW, agent="agents/c"), step("failed", NOW, agent="")]
    events += [step("succeeded", NOW, agent="agents/a")]
    await service.publish(*numbered(events))

    answer = await service.agents()
    assert [counts(agent) for agent in answer.agents] == [
        ("agents/b", 4, 3, 1, 0.75),
        ("agents/a", 1, 1, 0, 1.0),
        ("agents/c", 1, 0, 1, 0.0),
    ]
    latency = answer.agents[0].latency
    assert latency.count == 4
    assert latency.mean.ToTimedelta() == timedelta(milliseconds=17.5)
    assert latency.p99.ToTimedelta() / timedelta(milliseconds=40) == pytest.approx(1, rel=ERROR)


async def test_each_organisation_of_a_batch_has_its_owncounts(service: Monitoring) -> None:
    events = [
        execution("started", NOW, organization="acme"),
        execution("started", NOW, organization="zenith"),
        execution("started", NOW, organization="acme"),
    ]
    answer = await service.publish(*numbered(events))
    assert answer.mark == 3
    assert (await service.summary("acme")).executions.started == 2
    assert (await service.summary("zenith")).executions.started == 1
    assert (await service.summary("other")).executions.started == 0


async def test_windows_reach_back_as_far_as_they_say(
    service: Monitoring, clock: ManualClock
) -> None:
    ages = [timedelta(0), timedelta(minutes=1), timedelta(minutes=30), timedelta(minutes=179)]
    await service.publish(*numbered([execution("started", NOW - age) for age in ages]))

    async def started(window: timedelta | None) -> int:
        return (await service.summary(window=window)).executions.started

    assert await started(timedelta(seconds=1)) == 2
    assert await started(timedelta(minutes=29)) == 2
    assert await started(None) == 3
    assert await started(timedelta(hours=3)) == 4
    clock.advance(timedelta(minutes=2))
    assert await started(timedelta(hours=3)) == 3


async def test_late_events_count_at_their_own_time_where_it_is_held(
    service: Monitoring, redis_url: str
) -> None:
    held, gone = NOW - timedelta(hours=2), NOW - timedelta(days=402)
    in_hours, in_days = NOW - timedelta(days=6), NOW - timedelta(days=300)
    moments = (held, gone, in_hours, in_days)
    answer = await service.publish(*numbered([execution("started", each) for each in moments]))
    assert (answer.mark, len(answer.refusals)) == (4, 0)
    async with connect(redis_url) as redis:
        window = Window.ending_in(
            Resolution.HOUR.bucket_of(NOW), timedelta(days=7), Resolution.HOUR
        )
        sums = await Buckets(redis).sums("acme", ["executions"], window)
        assert sums["executions"].of(Status.STARTED) == 2
        window = Window.ending_in(
            Resolution.DAY.bucket_of(NOW), timedelta(days=300), Resolution.DAY
        )
        courses = await Buckets(redis).courses("acme", ["executions"], window)
        started = [each.of(Status.STARTED) for each in courses["executions"]]
        assert [number for number, count in enumerate(started) if count] == [0, 294, 300]
    assert (await service.summary(window=timedelta(hours=1))).executions.started == 0
    assert (await service.summary(window=timedelta(hours=3))).executions.started == 1
    assert service.metric("brikk_monitoring_ingested_total", result="expired") == 1


async def test_events_of_the_future_are_refused(service: Monitoring, redis_url: str) -> None:
    soon, far = NOW + timedelta(minutes=5), NOW + timedelta(minutes=5, seconds=1)
    events = [execution("started", moment) for moment in (NOW, far, soon)]
    answer = await service.publish(*numbered(events))
    assert answer.mark == 3
    assert [refusal_of(refusal) for refusal in answer.refusals] == [(2, "EVENT_IN_FUTURE")]
    assert (await service.summary()).executions.started == 1
    assert service.metric("brikk_monitoring_rejected_total", reason="EVENT_IN_FUTURE") == 1

    [letter] = await dead_letters(redis_url, "acme")
    assert letter[b"position"] == b"2"
    assert letter[b"reason"] == b"EVENT_IN_FUTURE"
    assert Event.FromString(letter[b"event"]) == events[1]


async def test_malformed_events_are_refused_one_by_one(service: Monitoring, redis_url: str) -> None:
    nameless = execution("started", NOW)
    nameless.organization = ""
    hostile = execution("started", NOW)
    hostile.organization = "acme}:x"
    timeless = execution("started", NOW)
    timeless.ClearField("time")
    dataless = execution("succeeded", NOW)
    dataless.ClearField("data")
    events = [
        execution("started", NOW),
        nameless,
        hostile,
        timeless,
        dataless,
        execution("succeeded", NOW, duration_ms="fast"),
        execution("succeeded", NOW, duration_ms=-1.0),
        step("succeeded", NOW, agent=["agents/reader"]),
        step("succeeded", NOW, agent="agents/No Such"),
        step("retrying", NOW, latency_ms=None),
        execution("started", NOW),
    ]
    answer = await service.publish(*numbered(events))
    assert answer.mark == len(events)
    assert [refusal_of(refusal) for refusal in answer.refusals] == [
        (position, "INVALID_FIELD") for position in range(2, 11)
    ]
    summary = await service.summary()
    assert summary.executions == ExecutionCounts(started=2)
    assert summary.steps == StepCounts()
    assert len(await dead_letters(redis_url, "acme")) == 7
    assert len(await dead_letters(redis_url, "-")) == 2


async def test_unknown_types_are_acknowledged_without_effect(
    service: Monitoring, redis_url: str
) -> None:
    unknown = execution("started", NOW)
    unknown.type = "brikk.agent.drained.v1"
    answer = await service.publish(*numbered([unknown]))
    assert (answer.mark, len(answer.refusals)) == (1, 0)
    assert service.metric("brikk_monitoring_ingested_total", result="ignored") == 1
    async with Redis.from_url(redis_url) as redis:
        assert await redis.keys("*{acme}*") == []


async def test_agents_beyond_the_cap_are_counted_together(
    redis_url: str, tokens: Tokens, clock: ManualClock
) -> None:
    async with monitoring(redis_url, tokens, clock=clock, series_cap=6) as service:
        names = [f"agents/a{number}" for number in range(5)]
        await service.publish(*numbered([step("succeeded", NOW, agent=name) for name in names]))
        clock.advance(timedelta(minutes=1))
        events = [step("failed", clock.now(), agent=name) for name in names]
        await service.publish(*numbered(events, first=6))
        answer = await service.agents()
        assert [counts(agent) for agent in answer.agents] == [
            ("agents/-", 6, 3, 3, 0.5),
            ("agents/a0", 2, 1, 1, 0.5),
            ("agents/a1", 2, 1, 1, 0.5),
        ]
        assert (await service.agents("zenith")).agents == []

        # Agents that are not called any more make room.
        clock.advance(timedelta(hours=25))
        await service.publish(*numbered([step("failed", clock.now(), agent=names[4])], first=11))
        answer = await service.agents()
        assert [agent.agent for agent in answer.agents] == [names[4]]


async def test_every_key_expires(service: Monitoring, redis_url: str) -> None:
    events = [
        execution("succeeded", NOW),
        step("succeeded", NOW - timedelta(hours=1)),
        step("failed", NOW, organization="zenith"),
        execution("started", NOW + timedelta(days=1)),
    ]
    await service.publish(*numbered(events))
    longest = {
        "mark": timedelta(days=30),
        "organizations": timedelta(days=7),
        "dead": timedelta(days=7),
        "series": timedelta(days=1),
        "minute": timedelta(hours=3, minutes=6),
        "hour": timedelta(days=7, hours=2),
        "day": timedelta(days=402),
    }
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        keys = cast("list[str]", await redis.keys("*"))
        assert len(keys) > 10
        for key in keys:
            kind = re.sub(r"^brikk:monitoring:({\w+}:)?", "", key).partition(":")[0]
            assert 0 < await redis.ttl(key) <= longest[kind].total_seconds(), key


async def dead_letters(redis_url: str, organization: str) -> list[dict[bytes, bytes]]:
    async with Redis.from_url(redis_url) as redis:
        entries = await redis.xrange(f"brikk:monitoring:{{{organization}}}:dead")
    return [letter for _, letter in cast("list[tuple[bytes, dict[bytes, bytes]]]", entries)]


def counts(agent: AgentPerformance) -> tuple[str, int, int, int, float]:
    return (agent.agent, agent.calls, agent.succeeded, agent.failed, agent.success_ratio)


def refusal_of(refusal: PublishRefusal) -> tuple[int, str]:
    return (refusal.position, from_status(refusal.status).reason)
