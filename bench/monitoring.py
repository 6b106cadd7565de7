"""Events into the monitoring service, over gRPC and durable, beside the script that counts them.

The bare script is called by the benchmark itself, on the same Valkey, with batches that are judged
already: what is left out is the service, with gRPC, tokens, the events' check and what they mean.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import grpc
from redis.asyncio import Redis

from bench.alerting import rules_case
from bench.load import Load, put_load
from bench.report import Case, Report, beside, percentile
from bench.suite import started_suite
from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishItem, PublishRequest
from brikk.event.v1.event_service_pb2_grpc import EventServiceStub
from brikk.monitoring.v1.monitoring_service_pb2 import GetCoordinationSummaryRequest
from brikk.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceStub
from brikk_cli.keys import LOCAL_ORGANIZATION, make_keys
from brikk_cli.plan import valkey_url
from brikk_cli.suite import Suite
from brikk_monitoring.api.judging import judge
from brikk_monitoring.domain.judgement import Judgement
from brikk_monitoring.domain.window import Resolution
from brikk_monitoring.settings import MonitoringSettings
from brikk_monitoring.store.apply import Limits
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.connection import connect
from brikk_monitoring.store.intake import Intake
from brikk_monitoring.store.keys import Keys, Shard
from brikk_monitoring.store.policies import Policies
from brikk_shared.clock import SystemClock
from brikk_shared.event import make_event
from brikk_shared.identity import INTERNAL_SCOPE
from brikk_shared.ids import new_id
from brikk_shared.signing import TokenSigner

BATCH = 500
SHARDS = 4
"""Batches under way at once: a relay has one of each shard."""
OFFERED = 10_000
"""Events per second of the case that measures acknowledgements."""
MINUTES = 60
AGENTS, WORKFLOWS = 50, 10
_LIFETIME = timedelta(minutes=5)


class Ingestion:
    """A monitoring service, and its store without it."""

    def __init__(self, suite: Suite, channel: grpc.aio.Channel, redis: Redis) -> None:
        keys = make_keys(suite.home.keys)
        self._signer = TokenSigner.from_file(keys.internal, clock=SystemClock())
        self._publish = EventServiceStub(channel).Publish
        self._summary = MonitoringServiceStub(channel).GetCoordinationSummary
        self._reader = (("authorization", f"Bearer {suite.token()}"),)
        self._redis = redis
        self.buckets = Buckets(redis)
        settings = MonitoringSettings()
        limits = Limits(series_cap=settings.series_cap, retention=settings.retention)
        self.policies = Policies(redis, settings.retention)
        self._intake = Intake(redis, limits)
        self._random = random.Random(1)  # noqa: S311 - it makes figures, and keeps no secret

    async def publish(self, requests: Sequence[PublishRequest]) -> Load:
        """Sends what shards have, a batch of each at a time."""
        left, metadata = iter(requests), self._metadata()

        async def send() -> None:
            await self._publish(next(left), metadata=metadata, timeout=30)

        return await put_load(send, units=len(requests), in_flight=SHARDS)

    async def offer(self, requests: Sequence[PublishRequest], *, pause_s: float) -> list[float]:
        """Sends one after each pause; returns the ms from when each was to go.

        Each shard has one under way at most: what does not keep up waits, and its time counts.
        """
        metadata, latencies = self._metadata(), list[float]()
        begin, left = time.perf_counter(), iter(enumerate(requests))

        async def shard() -> None:
            for number, request in left:
                due = begin + number * pause_s
                await asyncio.sleep(due - time.perf_counter())
                await self._publish(request, metadata=metadata, timeout=30)
                latencies.append((time.perf_counter() - due) * 1000)

        await asyncio.gather(*(shard() for _ in range(SHARDS)))
        return latencies

    async def apply(self, batches: Sequence[tuple[Shard, Sequence[Judgement]]]) -> Load:
        """Does to the store what the service would do."""
        left = iter(batches)

        async def send() -> None:
            await self._intake.apply(*next(left), datetime.now(UTC))

        return await put_load(send, units=len(batches), in_flight=SHARDS)

    async def query(self) -> None:
        """Asks for an hour, with percentiles."""
        request = GetCoordinationSummaryRequest()
        request.window.FromSeconds(MINUTES * 60)
        await self._summary(request, metadata=self._reader, timeout=30)

    async def bytes_per_minute(self) -> float:
        """Returns the memory of the last full minute of an agent's series, on average."""
        minute = Resolution.MINUTE.bucket_of(datetime.now(UTC)) - 1
        keys = Keys(LOCAL_ORGANIZATION)
        names = [
            keys.bucket(Resolution.MINUTE, minute, f"calls;agent=a{number}")
            for number in range(AGENTS)
        ]
        sizes = [int(await self._redis.memory_usage(name) or 0) for name in names]
        return sum(sizes) / len(sizes)

    def requests(self, count: int, *, minutes: int = 1) -> list[PublishRequest]:
        """Makes batches, each of a shard of its own, so that they may go in any order."""
        return [self._request(minutes) for _ in range(count)]

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = self._signer.mint(
            subject="services/bench", scopes={INTERNAL_SCOPE}, audience="brikk", lifetime=_LIFETIME
        )
        return (("authorization", f"Bearer {token}"),)

    def _request(self, minutes: int) -> PublishRequest:
        now = time.time()
        items = [
            PublishItem(position=position, event=self._event(now - 60 * self._draw(minutes)))
            for position in range(1, BATCH + 1)
        ]
        return PublishRequest(producer="bench", generation=new_id(), items=items)

    def _draw(self, below: int) -> int:
        return self._random.randrange(below)

    def _event(self, seconds: float) -> Event:
        kind = self._draw(5)
        name = ("execution.started", "execution.succeeded", *["step.succeeded"] * 3)[kind]
        data: dict[str, object] = {"workflow": f"w{self._draw(WORKFLOWS)}", "version": 1}
        if kind:
            data["duration_ms"] = self._random.lognormvariate(5, 1)
        if kind > 1:
            data |= {
                "step": f"s{self._draw(3)}",
                "agent": f"agents/a{self._draw(AGENTS)}",
                "capability": f"text.c{self._draw(5)}",
                "attempts": 1,
                "latency_ms": self._random.lognormvariate(4, 1),
                "tokens": self._draw(2000) + 1,
                "cost_micros": self._draw(900) + 1,
            }
        return make_event(
            source="brikk.workflow",
            type=f"brikk.{name}.v1",
            subject="executions/bench",
            organization=LOCAL_ORGANIZATION,
            sequence=1,
            time=datetime.fromtimestamp(seconds, UTC),
            data=data,
        )


async def measure(*, quick: bool) -> Report:
    """Counts events, offers them at a rate, asks for an hour of them, and evaluates rules."""
    async with _ingestion() as ingestion:
        await ingestion.publish(ingestion.requests(20, minutes=MINUTES))
        batches = await _batches_case(ingestion, pairs=3 if quick else 9)
        offered = await _offered_case(ingestion, seconds=5 if quick else 20)
        query = await _query_case(ingestion)
        rules = await rules_case(ingestion.buckets, ingestion.policies)
    return Report(
        bench="monitoring",
        cases=[batches, offered, query, rules],
        headline={
            "events_per_second": batches.rate,
            "ratio": batches.ratio or 0.0,
            "ack_p99_ms": offered.p99_ms,
            "query_p99_ms": query.p99_ms,
            "thousand_rules_ms": rules.p50_ms,
            "bytes_per_series_minute": query.figures["bytes per series-minute"] or 0.0,
        },
    )


async def _batches_case(ingestion: Ingestion, *, pairs: int) -> Case:
    rates, limits, latencies = list[float](), list[float](), list[float]()
    for _ in range(pairs):
        requests = ingestion.requests(60)
        load = await ingestion.publish(requests)
        rates.append(len(requests) * BATCH / load.seconds)
        latencies += load.latencies_ms
        now = datetime.now(UTC)
        judged = [
            (
                Shard(producer="bare", generation=each.generation, number=0),
                [judge(item, now) for item in each.items],
            )
            for each in requests
        ]
        load = await ingestion.apply(judged)
        limits.append(len(requests) * BATCH / load.seconds)
    return beside(
        f"batches of {BATCH}, {SHARDS} in flight",
        rates=rates,
        limits=limits,
        latencies_ms=latencies,
    )


async def _offered_case(ingestion: Ingestion, *, seconds: int) -> Case:
    requests = ingestion.requests(seconds * OFFERED // BATCH)
    begin = time.perf_counter()
    latencies = await ingestion.offer(requests, pause_s=BATCH / OFFERED)
    return Case(
        name=f"{OFFERED:,} events/s offered",
        rate=round(len(requests) * BATCH / (time.perf_counter() - begin), 1),
        p50_ms=percentile(latencies, 50),
        p99_ms=percentile(latencies, 99),
    )


async def _query_case(ingestion: Ingestion) -> Case:
    load = await put_load(ingestion.query, units=200, in_flight=1)
    return Case(
        name="summary of an hour, with percentiles",
        rate=round(200 / load.seconds, 1),
        p50_ms=percentile(load.latencies_ms, 50),
        p99_ms=percentile(load.latencies_ms, 99),
        figures={"bytes per series-minute": round(await ingestion.bytes_per_minute(), 1)},
    )


@asynccontextmanager
async def _ingestion() -> AsyncIterator[Ingestion]:
    async with started_suite("sqlite", {}) as (suite, _):
        url = valkey_url(make_keys(suite.home.keys), suite.ports)
        async with (
            connect(url) as redis,
            grpc.aio.insecure_channel(suite.addresses["monitoring"]) as channel,
        ):
            yield Ingestion(suite, channel, redis)
