"""Every event counts once, whatever breaks between the producer, the service and its store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from redis.asyncio import Redis

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishItem, PublishRequest
from brikk.event.v1.event_service_pb2_grpc import EventServiceStub
from brikk_shared.errors import BrikkError, Reason
from brikk_shared.status import from_rpc_error
from brikk_shared.testing import Tokens, bearer
from support.losing_proxy import LosingProxy
from support.monitoring import GENERATION, Monitoring, execution, monitoring, numbered
from support.processes import service_process
from support.valkey import ValkeyServer

OTHER_GENERATION = GENERATION[:-1] + "2"


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


@pytest.fixture
async def service(redis_url: str, tokens: Tokens) -> AsyncIterator[Monitoring]:
    async with monitoring(redis_url, tokens) as service:
        yield service


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[tuple[LosingProxy, str]]:
    """A proxy before the store, and its URL."""
    parts = urlsplit(redis_url)
    proxy = LosingProxy(parts.hostname or "", parts.port or 0)
    async with proxy.listening() as port:
        yield proxy, f"redis://127.0.0.1:{port}{parts.path}"


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A store that the test may break."""
    server = ValkeyServer(tmp_path / "valkey")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def started(count: int, organization: str = "acme") -> list[Event]:
    now = datetime.now(UTC)
    return [execution("started", now, organization=organization) for _ in range(count)]


async def counted(service: Monitoring, organization: str = "acme") -> int:
    return (await service.summary(organization)).executions.started


async def refused(service: Monitoring, *items: tuple[int, Event]) -> BrikkError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.publish(*items)
    return from_rpc_error(raised.value)


async def test_a_batch_sent_again_has_no_effect(service: Monitoring) -> None:
    batch = numbered(started(3))
    assert (await service.publish(*batch)).mark == 3
    assert (await service.publish(*batch)).mark == 3
    assert await counted(service) == 3
    assert service.metric("brikk_monitoring_ingested_total", result="repeated") == 3


async def test_a_batch_sent_many_times_at_once_counts_once(service: Monitoring) -> None:
    batch = numbered(started(50) + started(50, "zenith"))
    answers = await asyncio.gather(*(service.publish(*batch) for _ in range(10)))
    assert {answer.mark for answer in answers} == {100}
    assert (await counted(service), await counted(service, "zenith")) == (50, 50)


async def test_of_an_overlapping_batch_only_the_new_part_counts(service: Monitoring) -> None:
    events = numbered(started(10))
    await service.publish(*events[:6])
    assert (await service.publish(*events[3:])).mark == 10
    assert (await service.publish(*events[2:5])).mark == 10
    assert await counted(service) == 10


async def test_an_empty_batch_asks_for_the_mark_of_its_shard(service: Monitoring) -> None:
    assert (await service.publish()).mark == 0
    await service.publish(*numbered(started(4)))
    assert (await service.publish()).mark == 4
    assert (await service.publish(shard=1)).mark == 0
    assert (await service.publish(generation=OTHER_GENERATION)).mark == 0


async def test_shards_and_generations_count_apart(service: Monitoring) -> None:
    batch = numbered(started(2))
    await service.publish(*batch)
    await service.publish(*batch, shard=1)
    await service.publish(*batch, generation=OTHER_GENERATION)
    assert await counted(service) == 6


async def test_a_gap_is_counted_not_refused(service: Monitoring) -> None:
    await service.publish(*numbered(started(2)))
    assert service.metric("brikk_inbox_gaps_total") == 0
    assert (await service.publish(*numbered(started(2), first=7))).mark == 8
    assert service.metric("brikk_inbox_gaps_total") == 1
    assert await counted(service) == 4


@pytest.mark.parametrize("positions", [(2, 1), (1, 1), (0, 1)])
async def test_positions_must_ascend_from_one(
    service: Monitoring, positions: tuple[int, int]
) -> None:
    error = await refused(service, *zip(positions, started(2), strict=True))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_FIELD)
    assert await counted(service) == 0


async def test_a_lost_reply_of_the_store_counts_nothing_twice(
    proxy: tuple[LosingProxy, str], tokens: Tokens
) -> None:
    losing, url = proxy
    async with monitoring(url, tokens) as service:
        losing.lose_reply(b"EVAL", count=2)
        answer = await service.publish(*numbered(started(3) + started(2, "zenith")))
        assert losing.losses == 1
        assert answer.mark == 5
        assert (await counted(service), await counted(service, "zenith")) == (3, 2)


async def test_a_crash_between_organisations_loses_and_repeats_nothing(
    proxy: tuple[LosingProxy, str], tokens: Tokens, redis_url: str
) -> None:
    losing, url = proxy
    events = numbered(started(3) + started(2, "zenith") + started(1))
    async with monitoring(url, tokens) as service:
        losing.lose_reply(b"EVAL", count=1, stay_down=True)
        error = await refused(service, *events)
        assert (error.code, error.reason) == ("UNAVAILABLE", Reason.DEPENDENCY_UNAVAILABLE)
        assert error.retry_after
    # Another process goes on where that one ended: one organisation has its events, one has not.
    async with monitoring(redis_url, tokens) as service:
        assert (await counted(service), await counted(service, "zenith")) == (4, 0)
        assert (await service.publish()).mark == 0
        # The producer may cut its batches differently now.
        assert (await service.publish(*events[:4])).mark == 4
        assert (await service.publish(*events)).mark == 6
        assert (await counted(service), await counted(service, "zenith")) == (4, 2)


async def test_a_killed_store_costs_delay_only(valkey: ValkeyServer, tokens: Tokens) -> None:
    back = asyncio.Event()
    batches, size = 40, 20
    acknowledged = 0
    half_way = asyncio.Event()
    failures = 0

    async def send(service: Monitoring, shard: int) -> None:
        nonlocal acknowledged, failures
        for number in range(batches):
            batch = numbered(started(size), first=number * size + 1)
            while True:
                try:
                    answer = await service.publish(*batch, shard=shard)
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE
                    failures += 1
                    await back.wait()
                else:
                    assert answer.mark == (number + 1) * size
                    break
            acknowledged += 1
            if acknowledged == batches:
                half_way.set()

    async def break_store() -> None:
        await half_way.wait()
        await asyncio.to_thread(valkey.kill)
        await asyncio.to_thread(valkey.start)
        back.set()

    async with monitoring(valkey.url, tokens) as service:
        async with asyncio.TaskGroup() as group:
            group.create_task(break_store())
            for shard in range(3):
                group.create_task(send(service, shard))
        assert failures > 0
        assert await counted(service) == 3 * batches * size


async def test_a_killed_service_loses_and_repeats_nothing(
    redis_url: str, tokens: Tokens, tmp_path: Path
) -> None:
    batches, size, shards = 60, 20, 3
    taken = [0] * shards
    under_way = asyncio.Event()
    issuers = [each.model_dump() for each in tokens.issuers]
    settings = {
        "issuers": issuers,
        "redis_url": redis_url,
        "database_url": f"sqlite:///{tmp_path}/killed.db",
    }

    async def send(channel: grpc.aio.Channel, shard: int) -> None:
        """Send until the end or the first failure, and note what was acknowledged."""
        for first in range(taken[shard] + 1, batches * size, size):
            items = numbered(started(size), first=first)
            request = PublishRequest(
                producer="workflow",
                generation=GENERATION,
                shard=shard,
                items=[PublishItem(position=each, event=event) for each, event in items],
            )
            try:
                answer = await EventServiceStub(channel).Publish(
                    request, metadata=bearer(tokens.internal()), timeout=10
                )
            except grpc.aio.AioRpcError:
                return
            taken[shard] = answer.mark
            if taken[shard] >= 10 * size:
                under_way.set()

    async with (
        service_process("monitoring", settings) as process,
        grpc.aio.insecure_channel(process.address) as channel,
        asyncio.TaskGroup() as group,
    ):
        for shard in range(shards):
            group.create_task(send(channel, shard))
        await under_way.wait()
        await process.kill()
    assert sum(taken) < shards * batches * size
    async with monitoring(redis_url, tokens) as service:
        await asyncio.gather(*(send(service.channel, shard) for shard in range(shards)))
        assert taken == [batches * size] * shards
        assert await counted(service) == shards * batches * size


async def test_a_full_store_refuses_whole_batches_until_there_is_room(
    valkey: ValkeyServer, tokens: Tokens
) -> None:
    events = numbered(started(3) + started(2, "zenith"))
    async with (
        monitoring(valkey.url, tokens) as service,
        Redis.from_url(valkey.url) as redis,
    ):
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.config_set("maxmemory", 1)
        error = await refused(service, *events)
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", Reason.DEPENDENCY_UNAVAILABLE)
        assert error.retry_after
        assert (await counted(service), (await service.publish()).mark) == (0, 0)

        await redis.config_set("maxmemory", 0)
        assert (await service.publish(*events)).mark == 5
        assert (await service.publish(*events)).mark == 5
        assert (await counted(service), await counted(service, "zenith")) == (3, 2)


async def test_without_its_store_the_service_says_so(valkey: ValkeyServer, tokens: Tokens) -> None:
    async with monitoring(valkey.url, tokens) as service:
        await service.summary()
        valkey.stop()
        error = await refused(service, *numbered(started(1)))
        assert (error.code, error.reason) == ("UNAVAILABLE", Reason.DEPENDENCY_UNAVAILABLE)
        for call in (service.summary, service.agents):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call()
            error = from_rpc_error(raised.value)
            assert (error.code, error.reason) == ("UNAVAILABLE", Reason.DEPENDENCY_UNAVAILABLE)
            assert str(urlsplit(valkey.url).port) not in error.message
