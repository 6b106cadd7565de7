"""Deliveries per second with full logging, beside naked posts and Celery with requests.

The clock stops when every delivery is logged. The endpoint answers at once and costs next to
nothing; it, the suite, PostgreSQL and the load share the machine.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.delivering import Delivering, delivering, new_event
from bench.load import put_load
from bench.postgres import postgresql
from bench.report import Case, Report, beside, percentile
from bench.senders import NakedPosts, celery_rate, naked_posts
from bench.sink import arrivals, running_sink
from brikk_shared.database import Database
from brikk_shared.ids import new_id
from brikk_webhooks.domain.cloudevent import CloudEvent
from brikk_webhooks.domain.signing import Scheme
from brikk_webhooks.domain.webhook import SigningKey, Subscription, Webhook
from brikk_webhooks.store.intake import Intake
from brikk_webhooks.store.lanes import Lane
from brikk_webhooks.store.queue import Queue
from brikk_webhooks.store.signing_keys import NewKey
from brikk_webhooks.store.webhooks import Registration, create_webhook

ENDPOINTS = 8
IN_FLIGHT = 256
BATCH = 250
RATE = 500
PENDING = 100_000
CLAIM = 64
CLAIMS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """Events that were published at a steady rate."""

    events: int
    rate: float
    latencies_ms: Sequence[float]
    """Of the batches."""


async def measure(*, quick: bool) -> Report:
    """Runs every case on PostgreSQL; quickly, with fewer pairs and a shorter stream."""
    cases: list[Case] = []

    def found(case: Case) -> None:
        cases.append(case)
        print(f"{case.name}: {case.rate:,.0f} per second", file=sys.stderr, flush=True)

    async with (
        running_sink() as url,
        naked_posts(f"{url}/naked") as naked,
        delivering() as service,
    ):
        found(await _load_case(service, naked, url, pairs=3 if quick else 7))
        found(await _stream_case(service, url, seconds=5 if quick else 20))
        found(await _hanging_case(service, url, seconds=5 if quick else 20))
        found(await _celery_case(service, url))
    found(await _claim_case(10_000 if quick else PENDING))
    by_name = {case.name: case for case in cases}
    return Report(
        bench="webhooks",
        cases=cases,
        headline={
            "deliveries_ratio": cases[0].ratio or 0.0,
            "accept_p99_ms": by_name[f"accepting {RATE} events/s"].p99_ms,
            "first_byte_p99_ms": by_name[f"accepting {RATE} events/s"].figures["first byte p99"]
            or 0.0,
            "others_p99_ms": by_name["one endpoint of 50 hangs"].p99_ms,
        },
    )


async def _load_case(service: Delivering, naked: NakedPosts, url: str, *, pairs: int) -> Case:
    """As many as it can, in turns with naked posts; the latencies are those of accepting."""
    types = [f"bench.load{number}" for number in range(ENDPOINTS)]
    for event_type in types:
        await service.create(f"{url}/load", event_type)
    rates, limits, latencies = [], [], []
    cpu = count = 0.0
    await _publish(service, types, batches=8)
    for _ in range(pairs):
        limit = await put_load(naked.post, units=60 * IN_FLIGHT, in_flight=IN_FLIGHT)
        limits.append(len(limit.latencies_ms) / limit.seconds)
        cpu -= service.cpu()
        begun = time.perf_counter()
        accepted = await _publish(service, types, batches=40)
        seconds = time.perf_counter() - begun
        cpu += service.cpu()
        latencies += accepted
        rates.append(len(accepted) * BATCH / seconds)
        count += len(accepted) * BATCH
    return beside(
        f"deliveries, batches of {BATCH}",
        rates=rates,
        limits=limits,
        latencies_ms=latencies,
        figures={"service us": round(cpu / count * 1e6)},
    )


async def _publish(service: Delivering, types: Sequence[str], *, batches: int) -> list[float]:
    """Publishes one batch after the other and waits for the last delivery."""
    source = itertools.cycle(types)
    events = [[new_event(next(source)) for _ in range(BATCH)] for _ in range(batches)]
    latencies = [await service.publish(*batch) for batch in events]
    await service.delivered()
    return latencies


async def _stream_case(service: Delivering, url: str, *, seconds: int) -> Case:
    """Events at a steady rate: how long each takes to be accepted, and to arrive."""
    await service.create(f"{url}/timed", "bench.stream")
    await arrivals(url)
    stream = await _stream(service, ["bench.stream"], seconds=seconds)
    await service.delivered()
    noted = await arrivals(url)
    return Case(
        name=f"accepting {RATE} events/s",
        rate=round(stream.rate, 1),
        p50_ms=percentile(stream.latencies_ms, 50),
        p99_ms=percentile(stream.latencies_ms, 99),
        figures={
            "first byte p50": percentile(noted, 50),
            "first byte p99": percentile(noted, 99),
        },
    )


async def _hanging_case(service: Delivering, url: str, *, seconds: int) -> Case:
    """The same to fifty endpoints, of which one hangs: how long the others wait."""
    types = [f"bench.fifty{number}" for number in range(50)]
    await service.create(f"{url}/hang", types[0])
    for event_type in types[1:]:
        await service.create(f"{url}/timed", event_type)
    await arrivals(url)
    stream = await _stream(service, types, seconds=seconds)
    await service.delivered(but=-(-stream.events // len(types)))
    noted = await arrivals(url)
    return Case(
        name="one endpoint of 50 hangs",
        rate=round(stream.rate, 1),
        p50_ms=percentile(noted, 50),
        p99_ms=percentile(noted, 99),
    )


async def _stream(service: Delivering, types: Sequence[str], *, seconds: int) -> Stream:
    """Publishes at a steady rate: what has come up while a batch was under way is the next one.

    One producer's batches go one after the other, as those of an outbox do.
    """
    source = itertools.cycle(types)
    latencies: list[float] = []
    sent = 0
    begun = time.perf_counter()
    while sent < RATE * seconds:
        due = min(int((time.perf_counter() - begun) * RATE), RATE * seconds) - sent
        if due:
            latencies.append(await service.publish(*(new_event(next(source)) for _ in range(due))))
            sent += due
        else:
            await asyncio.sleep(1 / RATE)
    return Stream(events=sent, rate=sent / (time.perf_counter() - begun), latencies_ms=latencies)


async def _celery_case(service: Delivering, url: str) -> Case:
    """The usual way: a task for each; what one takes is not measured."""
    rate = await celery_rate(f"{url}/celery", service.valkey_url, count=2_000)
    return Case(name="Celery with requests", rate=round(rate, 1), p50_ms=0.0, p99_ms=0.0)


async def _claim_case(pending: int) -> Case:
    """Claims of 64 while so many deliveries wait for fifty endpoints."""
    with tempfile.TemporaryDirectory(prefix="brikk-bench-") as home:
        async with (
            postgresql(Path(home) / "postgresql") as server,
            Database(
                server.format(service="webhooks"), migrations="brikk_webhooks.store.migrations"
            ) as database,
        ):
            await _fill(database, pending)
            queue = Queue(database)
            latencies = []
            for _ in range(CLAIMS):
                begun = time.perf_counter()
                catch = await queue.claim(
                    Lane.FIRST,
                    lambda waiting: {each.webhook_uid: 2 for each in waiting[: CLAIM // 2]},
                    claim=new_id(),
                    lease=timedelta(minutes=5),
                )
                latencies.append((time.perf_counter() - begun) * 1000)
                if len(catch.claims) != CLAIM:
                    raise RuntimeError(f"{len(catch.claims)} were claimed")
    return Case(
        name=f"claims of {CLAIM}, {pending:,} pending",
        rate=round(CLAIM * len(latencies) / sum(latencies) * 1000, 1),
        p50_ms=percentile(latencies, 50),
        p99_ms=percentile(latencies, 99),
    )


async def _fill(database: Database, pending: int) -> None:
    intake = Intake(database)
    now = datetime.now(UTC)
    key = SigningKey(version=1, scheme=Scheme.V1, public_key="")
    async with database.transaction() as connection:
        for number in range(50):
            webhook = Webhook(
                id=f"hook-{number}",
                subscription=Subscription(
                    url="http://127.0.0.1/", event_types=(f"bench.type{number}",)
                ),
                create_time=now,
                update_time=now,
                signing_keys=(key,),
            )
            registration = Registration(
                uid=new_id(),
                webhook=webhook,
                keys=[NewKey(key=key, sealed=b"\x01\x02k1sealed")],
                request_id="",
                request_digest=b"",
            )
            await create_webhook(connection, "bench", registration, quota=50)
    types = itertools.cycle(f"bench.type{number}" for number in range(50))
    for _ in range(pending // 500):
        events = [
            CloudEvent(
                id=new_id(),
                source="brikk.bench",
                type=next(types),
                subject="executions/7f3a",
                time=now,
                organization="bench",
                sequence=1,
                traceparent="",
                data={"workflow": "triage"},
            )
            for _ in range(500)
        ]
        async with database.transaction() as connection:
            await intake.take(connection, events)
