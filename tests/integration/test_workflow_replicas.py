"""Replicas as processes on one PostgreSQL: killed, ended, frozen, replaced, and left alone."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

import grpc
import pytest

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.workflow.v1 import execution_service_pb2
from brikk_shared.structs import Json
from support.chaos import CHAIN, Tell, let_leases_end, prove, read_stories, receiving, spread
from support.fleet import fleet, held_by, taken_over
from support.gates import Gate
from support.restarting_postgres import FAST, IMMEDIATE, KILL, restarting_postgres
from support.workflows import AgentError, ScriptedAgent, State, World, echo

SHAKY = """
name: shaky
steps:
  - id: only
    call: {capability: text.shaky}
    retry: {max_attempts: 2, initial: 4s, jitter: 0}
"""
COUNT = 10
TAKEOVER_S = 3 * 12
"""Three times what is promised after kill -9, with the lease as it comes."""
HANDOVER_S = 20
"""Far more than the second after SIGTERM, and far less than the lease that nobody waits for."""
LONG = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str) -> AsyncIterator[World]:
    async with World(tmp_path, postgres_url).open() as world:
        yield world


def has_failed(failed: Counter[str], count: int, _: ScriptedAgent) -> bool:
    return len(failed) == count


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
        held = await held_by(world.database_url, doomed)
        await replicas.kill(doomed)
        async with asyncio.timeout(TAKEOVER_S):
            await taken_over(world.database_url, held)
        gate.open.set()
        for execution in await asyncio.gather(*map(replicas.wait, names)):
            assert execution.state == State.STATE_SUCCEEDED
        await prove(world.database_url, names)
        # Exactly one took over, and made the calls again that were in flight.
        for story in await read_stories(world.database_url):
            assert story.count("step.attempt_lost") == 1
        assert agent.calls["text.two"] == 2 * COUNT


@pytest.mark.parametrize(
    ("rounds", "lease", "handover_s"),
    [(1, "60s", HANDOVER_S), pytest.param(3, "10s", 3 * 1, marks=LONG)],
)
async def test_restarting_them_all_is_noticed_by_nobody(
    world: World, rounds: int, lease: str, handover_s: int, tell: Tell
) -> None:
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
            replica_lease=lease,
            claim_interval="250ms",
            webhooks_address=receivers[0].address,
            monitoring_address=receivers[1].address,
        ) as replicas,
    ):
        await replicas.live[0].client.create(CHAIN)
        await replicas.live[0].client.create(SHAKY)
        names: list[str] = []
        handovers: list[float] = []
        async with replicas.load("chain") as load:
            for _ in range(3 * rounds):
                doomed, coming = replicas.live[0], asyncio.create_task(replicas.add())
                names += [await doomed.client.start("shaky") for _ in range(COUNT)]
                await agent.until(partial(has_failed, failed, len(names)))
                held, begin = await held_by(world.database_url, doomed), time.monotonic()
                ending = asyncio.create_task(replicas.end(doomed))
                # What waits without a call in flight goes to others at once.
                await taken_over(world.database_url, held)
                handovers.append(time.monotonic() - begin)
                await asyncio.gather(ending, coming)
                await load.more(10)
        for execution in await asyncio.gather(*map(replicas.wait, names)):
            assert execution.state == State.STATE_SUCCEEDED
        await prove(world.database_url, names + load.names, *receivers)
        tell(
            f"{len(handovers)} replicas replaced under load, {len(names + load.names)} executions"
            f" succeeded; handover after SIGTERM {spread(handovers)}"
        )
        assert max(handovers) <= handover_s


async def test_a_frozen_owner_that_wakes_changes_nothing(world: World) -> None:
    gate = Gate()
    async with (
        world.agent(text__one=echo(), text__two=gate.work) as agent,
        fleet(world, count=2, replica_lease="60s") as replicas,
    ):
        frozen, other = replicas.live
        await other.client.create(CHAIN)
        names = [await frozen.client.start("chain", {"n": n}) for n in range(COUNT)]
        await agent.until(lambda agent: agent.calls["text.two"] == COUNT)
        frozen.process.process.send_signal(signal.SIGSTOP)
        try:
            await let_leases_end(world.database_url)
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
@pytest.mark.parametrize("between", [10, pytest.param(100, marks=LONG)])
async def test_a_store_that_restarts_strands_nothing(
    tmp_path: Path, between: int, tell: Tell
) -> None:
    async with (
        restarting_postgres() as server,
        World(tmp_path, server.url).open() as world,
        world.agent(text__one=echo(), text__two=echo()),
        receiving() as receivers,
        fleet(
            world,
            count=2,
            webhooks_address=receivers[0].address,
            monitoring_address=receivers[1].address,
        ) as replicas,
    ):
        await replicas.live[0].client.create(CHAIN)
        async with replicas.load("chain") as load:
            for how in (FAST, IMMEDIATE, KILL):
                await load.more(between)
                await server.stop(how)
                await server.start()
            await load.more(between)
        await prove(server.url, load.names, *receivers)
        tell(f"the store was restarted 3 times under load, {len(load.names)} executions succeeded")


@pytest.mark.parametrize("between", [10, pytest.param(100, marks=LONG)])
async def test_others_may_be_away(
    tmp_path: Path, database_url: str, between: int, tell: Tell
) -> None:
    async with (
        World(tmp_path, database_url).open() as world,
        world.agent(text__one=echo(), text__two=echo()) as agent,
        receiving() as receivers,
        fleet(
            world,
            count=1,
            webhooks_address=receivers[0].address,
            monitoring_address=receivers[1].address,
        ) as replicas,
    ):
        client = replicas.live[0].client
        await client.create(CHAIN)
        await client.create(SHAKY)
        async with replicas.load("chain") as load:
            await load.more(between)
            await world.discovery.set_down(down=True)
            for receiver in receivers:
                await receiver.go()
            # What was known of agents serves on, and events wait.
            await load.more(between)
            waiting = await client.start("shaky")
            async with world.agent("agents/two", text__shaky=echo()):
                await world.discovery.set_down(down=False)
                for receiver in receivers:
                    await receiver.come()
                assert (await client.wait(waiting)).state == State.STATE_SUCCEEDED
            await load.more(between)
        await prove(database_url, [*load.names, waiting], *receivers)
        assert len(agent.requests) == 3 * len(load.names)
        tell(f"all others were away under load, {len(load.names)} executions succeeded")
