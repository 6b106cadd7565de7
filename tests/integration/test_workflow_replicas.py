"""Replicas as processes on one PostgreSQL: killed, ended, frozen, replaced, and left alone."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import grpc
import pytest

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.workflow.v1 import execution_service_pb2
from brikk_shared.structs import Json
from support.chaos import CHAIN, prove, read_stories, receiving
from support.discovery import until
from support.fleet import fleet, owners
from support.gates import Gate
from support.restarting_postgres import FAST, IMMEDIATE, restarting_postgres
from support.workflows import AgentError, State, World, echo

SHAKY = """
name: shaky
steps:
  - id: only
    call: {capability: text.shaky}
    retry: {max_attempts: 2, initial: 1s, jitter: 0}
"""
COUNT = 10
TAKEOVER_S = 3 * 12
"""Three times what is promised after kill -9, with the lease as it comes."""
HANDOVER_S = 20
"""Far more than the second after SIGTERM, and far less than the lease that nobody waits for."""


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str) -> AsyncIterator[World]:
    async with World(tmp_path, postgres_url).open() as world:
        yield world


async def test_any_replica_answers_and_one_takes_over_from_the_dead(world: World) -> None:
    gate = Gate()
    async with (
        world.agent(text__one=echo(), text__two=gate.work) as agent,
        fleet(world) as replicas,
    ):
        doomed, *others = replicas.live
        await others[0].client.create(CHAIN)
        names = [await doomed.client.start("chain", {"n": n}) for n in range(COUNT)]
        for replica in others:
            listed = await replica.client.executions.ListExecutions(
                execution_service_pb2.ListExecutionsRequest(), metadata=replica.client.metadata
            )
            assert {each.name for each in listed.executions} == set(names)
        await agent.until(lambda agent: agent.calls["text.two"] == COUNT)
        before = await owners(world.database_url)
        await replicas.kill(doomed)

        async def taken_over() -> bool:
            now = await owners(world.database_url)
            return all(now[name][0] not in (None, before[name][0]) for name in names)

        async with asyncio.timeout(TAKEOVER_S):
            await until(taken_over)
        gate.open.set()
        for execution in await asyncio.gather(*map(replicas.wait, names)):
            assert execution.state == State.STATE_SUCCEEDED
        await prove(world.database_url, names)
        # Exactly one took over, and made the calls again that were in flight.
        for story in await read_stories(world.database_url):
            assert story.count("step.attempt_lost") == 1
        assert agent.calls["text.two"] == 2 * COUNT


async def test_restarting_them_all_is_noticed_by_nobody(world: World) -> None:
    failed: Counter[str] = Counter()

    async def shaky(request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        failed[request.execution] += 1
        if failed[request.execution] == 1:
            raise AgentError(grpc.StatusCode.UNAVAILABLE)
        return {}

    async with (
        world.agent(text__one=echo(), text__two=echo(), text__shaky=shaky) as agent,
        receiving() as receivers,
        fleet(
            world,
            replica_lease="60s",
            webhooks_address=receivers[0].address,
            monitoring_address=receivers[1].address,
        ) as replicas,
    ):
        doomed, *_ = old = [*replicas.live]
        await doomed.client.create(CHAIN)
        await doomed.client.create(SHAKY)
        # What waits without a call in flight goes to others at once.
        names = [await doomed.client.start("shaky") for _ in range(COUNT)]
        await agent.until(lambda agent: agent.calls["text.shaky"] == COUNT)
        await replicas.end(doomed)
        async with asyncio.timeout(HANDOVER_S):
            await asyncio.gather(*map(replicas.wait, names))
        await replicas.add()
        async with replicas.load("chain") as load:
            for replica in old[1:]:
                await load.more(10)
                await replicas.add()
                await replicas.end(replica)
            await load.more(10)
        await prove(world.database_url, names + load.names, *receivers)


async def test_a_frozen_owner_that_wakes_changes_nothing(world: World) -> None:
    gate = Gate()
    async with (
        world.agent(text__one=echo(), text__two=gate.work) as agent,
        fleet(world, count=2, replica_lease="1s") as replicas,
    ):
        frozen, other = replicas.live
        await other.client.create(CHAIN)
        names = [await frozen.client.start("chain", {"n": n}) for n in range(COUNT)]
        await agent.until(lambda agent: agent.calls["text.two"] == COUNT)
        frozen.process.process.send_signal(signal.SIGSTOP)
        try:
            # Taken over, and called again; now the frozen one is answered, too.
            await agent.until(lambda agent: agent.calls["text.two"] == 2 * COUNT)
            gate.open.set()
            for name in names:
                assert (await other.client.wait(name)).state == State.STATE_SUCCEEDED
            before = {repr(each) for each in await read_stories(world.database_url)}
        finally:
            frozen.process.process.send_signal(signal.SIGCONT)
        last = await replicas.ask(lambda _: frozen.client.run("chain", {"n": 1}))
        assert last.state == State.STATE_SUCCEEDED
        assert before < {repr(each) for each in await read_stories(world.database_url)}
        await prove(world.database_url, [*names, last.name])


@pytest.mark.timeout(300)
async def test_a_store_that_restarts_strands_nothing(tmp_path: Path) -> None:
    async with (
        restarting_postgres() as server,
        World(tmp_path, server.url).open() as world,
        world.agent(text__one=echo(), text__two=echo()),
        receiving() as receivers,
        fleet(
            world,
            count=2,
            replica_lease="2s",
            webhooks_address=receivers[0].address,
            monitoring_address=receivers[1].address,
        ) as replicas,
    ):
        await replicas.live[0].client.create(CHAIN)
        async with replicas.load("chain") as load:
            for how in (FAST, IMMEDIATE):
                await load.more(10)
                await server.stop(how)
                await server.start()
            await load.more(10)
        await prove(server.url, load.names, *receivers)


async def test_others_may_be_away(tmp_path: Path, database_url: str) -> None:
    async with (
        World(tmp_path, database_url).open() as world,
        world.agent(text__one=echo(), text__two=echo()) as agent,
        receiving() as receivers,
        world.service(
            webhooks_address=receivers[0].address, monitoring_address=receivers[1].address
        ) as client,
    ):
        await client.create(CHAIN)
        await client.create(SHAKY)
        names = [(await client.run("chain", {"n": 1})).name]
        await world.discovery.set_down(down=True)
        for receiver in receivers:
            await receiver.go()
        # What was known of agents serves on, and events wait.
        names += [(await client.run("chain", {"n": n})).name for n in range(COUNT)]
        waiting = await client.start("shaky")
        async with world.agent("agents/two", text__shaky=echo()):
            await world.discovery.set_down(down=False)
            for receiver in receivers:
                await receiver.come()
            assert (await client.wait(waiting)).state == State.STATE_SUCCEEDED
            await prove(database_url, [*names, waiting], *receivers)
        assert len(agent.requests) == 3 * (COUNT + 1)
