"""Several replicas over one PostgreSQL: whichever an agent or a caller asks, it is one registry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.testing import Tokens
from support.discovery import TIMEOUT, Caller, serving, until
from support.partition import Partition
from support.refusals import refused

ONE = "11111111-1111-4111-8111-111111111111"
QUICK: dict[str, Any] = {"checkpoint_interval": "100ms", "sweep_interval": "100ms"}


@asynccontextmanager
async def three(url: str, folder: Path, **knobs: Any) -> AsyncIterator[list[Caller]]:
    tokens = Tokens(folder)
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(serving(url, tokens, **QUICK, **knobs))
            for _ in range(3)
        ]
        yield [service.caller() for service in services]


@pytest.fixture
async def replicas(postgres_url: str, tmp_path: Path) -> AsyncIterator[list[Caller]]:
    async with three(postgres_url, tmp_path) as callers:
        yield callers


async def seen_by_all(replicas: list[Caller], expected: list[str]) -> None:
    for replica in replicas:

        async def seen(replica: Caller = replica) -> bool:
            return await replica.resolve() == expected

        await until(seen)


async def test_what_one_replica_commits_all_answer(replicas: list[Caller]) -> None:
    first, second, third = replicas
    held = await first.register("writer")
    await seen_by_all(replicas, ["writer"])
    await third.deregister("writer", held.epoch)
    await seen_by_all(replicas, [])
    again = await second.register("writer")
    assert again.epoch > held.epoch
    await seen_by_all(replicas, ["writer"])


async def test_a_lease_is_known_everywhere_as_soon_as_it_is_granted(
    replicas: list[Caller],
) -> None:
    first, second, third = replicas

    async def live(agent_id: str) -> None:
        held = await first.register(agent_id)
        assert await second.beat(agent_id, held.epoch) is None
        await second.deregister(agent_id, held.epoch)
        newer = await third.register(agent_id)
        assert await first.beat(agent_id, newer.epoch) is None

    await asyncio.gather(*(live(f"agent-{number}") for number in range(20)))


async def test_a_heartbeat_to_any_replica_counts(postgres_url: str, tmp_path: Path) -> None:
    leases = {"heartbeat_interval": "500ms", "suspect_after": "2s", "expire_after": "6s"}
    async with three(postgres_url, tmp_path, **leases) as replicas:
        held = await replicas[0].register("living")
        await replicas[0].register("dead")
        await seen_by_all(replicas, ["dead", "living"])
        turns = cycle(replicas)

        async def only_the_living() -> bool:
            assert await next(turns).beat("living", held.epoch) is None
            return [await replica.resolve() for replica in replicas] == [["living"]] * 3

        await until(only_the_living)


async def test_loads_and_wishes_reach_every_replica(replicas: list[Caller]) -> None:
    first, second, third = replicas
    held = await first.register("writer", capacity=2)
    await seen_by_all(replicas, ["writer"])
    assert await second.beat("writer", held.epoch, in_flight=2) is None

    async def busy() -> bool:
        kept = await third.get("writer")
        return (kept.state, kept.in_flight) == (agent_pb2.Agent.STATE_BUSY, 2)

    await until(busy)
    before = (await third.get("writer")).revision
    assert before == held.agent.revision
    assert await second.beat("writer", held.epoch, draining=True) is None

    async def draining() -> bool:
        kept = await third.get("writer")
        return kept.state == agent_pb2.Agent.STATE_DRAINING and kept.revision > before

    await until(draining)


async def test_a_heartbeat_that_is_written_late_reaches_every_replica(
    replicas: list[Caller], postgres_url: str
) -> None:
    first, second, third = replicas
    held = await first.register("writer", capacity=2)
    await seen_by_all(replicas, ["writer"])
    other = await asyncpg.connect(postgres_url)
    async with other.transaction():
        # Whoever writes to the registry waits, and whoever reads it goes on.
        await other.execute("SELECT FROM registry FOR UPDATE")
        assert await second.beat("writer", held.epoch, in_flight=2) is None

        async def ten_checkpoints_passed() -> bool:
            passed = await other.fetchval("SELECT clock_timestamp() - now()")
            return bool(passed > timedelta(seconds=1))

        await until(ten_checkpoints_passed)
    await other.close()

    async def heard() -> bool:
        return (await third.get("writer")).in_flight == 2

    await until(heard)


async def test_an_order_to_one_replica_binds_all(replicas: list[Caller]) -> None:
    first, second, third = replicas
    held = await first.register("writer")
    request = pb.SetAgentStateRequest(
        name="agents/writer", state=agent_pb2.Agent.STATE_MAINTENANCE, reason="disk"
    )
    await third.stub.SetAgentState(request, metadata=third.metadata, timeout=TIMEOUT)
    await seen_by_all(replicas, [])
    assert await second.beat("writer", held.epoch) is None
    assert (await second.get("writer")).state_reason == "ordered by users/tester: disk"


async def test_two_processes_under_one_id_do_not_take_turns(replicas: list[Caller]) -> None:
    first, second, _ = replicas
    old = await first.register("writer", incarnation=ONE)
    new = await second.register("writer")

    async def superseded() -> bool:
        refused = await first.beat("writer", old.epoch)
        return refused is not None and refused.reason is Reason.LEASE_SUPERSEDED

    await until(superseded)
    error = await refused(first.register("writer", incarnation=ONE))
    assert error.reason is Reason.LEASE_SUPERSEDED
    assert await first.beat("writer", new.epoch) is None


async def test_a_replica_that_loses_the_store_serves_what_it_knows_and_catches_up(
    postgres_url: str, tmp_path: Path
) -> None:
    tokens, partition = Tokens(tmp_path), Partition(postgres_url)
    # So soon a replica that cannot write heartbeats refuses them.
    patience: dict[str, Any] = {"heartbeat_interval": "500ms"}
    async with (
        partition.listening() as cut_off_url,
        serving(postgres_url, tokens, **QUICK, **patience) as whole,
        serving(cut_off_url, tokens, **QUICK, **patience) as cut_off,
    ):
        well, lonely = whole.caller(), cut_off.caller()
        held = await lonely.register("stays")
        leaving = await lonely.register("leaves")
        await seen_by_all([well, lonely], ["leaves", "stays"])
        partition.cut()

        async def refuses() -> bool:
            # What it takes in does not count any more, so it must say so before leases end.
            for agent_id, epoch in (("stays", held.epoch), ("leaves", leaving.epoch)):
                assert await well.beat(agent_id, epoch) is None
            beat = pb.Beat(agent="agents/stays", epoch=held.epoch)
            try:
                await lonely.beats(beat)
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.UNAVAILABLE
            return False

        await until(refuses)
        assert sorted(await lonely.resolve()) == ["leaves", "stays"]
        await well.register("comes")
        await well.deregister("leaves", leaving.epoch)
        error = await refused(lonely.register("other"))
        assert error.code == "UNAVAILABLE"
        partition.heal()
        await until_beaten(lonely, "stays", held.epoch)

        async def caught_up() -> bool:
            assert await well.beat("stays", held.epoch) is None
            return set(await lonely.resolve()) == {"comes", "stays"}

        await until(caught_up)
        assert (await well.get("stays")).register_time == held.agent.register_time


async def until_beaten(caller: Caller, agent_id: str, epoch: int) -> None:
    """Wait until the replica takes heartbeats."""

    async def taken() -> bool:
        try:
            return await caller.beat(agent_id, epoch) is None
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            return False

    await until(taken)
