"""The workflow service on the real discovery: agents come, go and fail, and discovery dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from brikk_shared.structs import Json
from brikk_shared.testing import bearer
from support import discovery
from support.discovery import Caller, until
from support.loopback import LOOPBACK
from support.processes import ServiceProcess, service_process
from support.workflows import AgentError, ScriptedAgent, State, WorkflowClient, World, echo

ONE = """
name: one
steps:
  - {id: only, call: {capability: text.one}, retry: {initial: 10ms, max_attempts: 5}}
"""
TWO = ONE.replace("one", "two")


@dataclass
class Suite:
    """Discovery as a process, and a world of workflow services and agents around it."""

    world: World
    discovery: ServiceProcess
    caller: Caller

    @asynccontextmanager
    async def workflows(self, database: str = "") -> AsyncIterator[WorkflowClient]:
        """Runs the workflow service on this discovery; its steps wait until the watch tells."""
        async with self.world.service(
            discovery_address=self.discovery.address,
            database_url=database or self.world.database_url,
            waiting_interval="1h",
        ) as client:
            yield client

    async def register(self, agent: ScriptedAgent) -> int:
        """Registers a served agent; returns the epoch of its lease."""
        message = discovery.agent(*agent.work, endpoint=agent.endpoint)
        name = agent.name.removeprefix("agents/")
        return (await self.caller.send(discovery.registration(name, message))).epoch

    async def observed(self, capability: str) -> dict[str, pb.Observation]:
        """What callers reported of the agents, best first."""
        candidates = await self.caller.candidates(capability)
        return {each.agent: each.observation for each in candidates}


@asynccontextmanager
async def discovery_at(world: World, listen: str = "127.0.0.1:0") -> AsyncIterator[ServiceProcess]:
    """Runs discovery as a process, on the same database each time."""
    folder = Path(world.tokens.users_key).parent
    settings = {
        "listen": listen,
        "database_url": f"sqlite:///{folder}/discovery.db",
        "issuers": [each.model_dump() for each in world.tokens.issuers],
        "service_key": str(world.tokens.service_key),
        "egress_allowed": LOOPBACK,
    }
    async with service_process("discovery", settings) as process:
        yield process


@pytest.fixture
async def suite(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Suite]:
    async with (
        World(tmp_path, sqlite_url).open() as world,
        discovery_at(world) as process,
        grpc.aio.insecure_channel(process.address) as channel,
    ):
        token = world.tokens.user("acme", *discovery.SCOPES)
        caller = Caller(stub=DiscoveryServiceStub(channel), metadata=bearer(token))
        yield Suite(world=world, discovery=process, caller=caller)


async def succeed(client: WorkflowClient, workflow: str, count: int) -> None:
    """Runs a workflow so many times at once; each must succeed."""
    for execution in await asyncio.gather(*(client.run(workflow) for _ in range(count))):
        assert execution.state == State.STATE_SUCCEEDED, execution


async def waiting(client: WorkflowClient, name: str) -> bool:
    return any(entry.type == "step.waiting" for entry in await client.history(name))


async def test_a_step_that_waits_starts_when_an_agent_comes_up(suite: Suite) -> None:
    async with suite.workflows() as client, suite.world.agent(text__one=echo()) as agent:
        await client.create(ONE)
        name = await client.start("one")
        assert await waiting(client, name)
        await suite.register(agent)
        assert (await client.wait(name)).state == State.STATE_SUCCEEDED


async def test_steps_go_elsewhere_when_an_agent_dies(suite: Suite) -> None:
    async with suite.workflows() as client, suite.world.agent("agents/b", text__one=echo()) as b:
        await suite.register(b)
        await client.create(ONE)
        async with suite.world.agent("agents/a", text__one=echo()) as a:
            await suite.register(a)
            while not a.requests:
                await succeed(client, "one", 1)
        # It never said that it goes: discovery believes that it is there.
        count = len(b.requests)
        await succeed(client, "one", 20)
        assert len(b.requests) == count + 20


async def test_discovery_may_die_and_come_back_and_nothing_fails(suite: Suite) -> None:
    async with suite.workflows() as client, suite.world.agent(text__one=echo()) as agent:
        await suite.register(agent)
        await client.create(ONE)
        await client.create(TWO)
        await succeed(client, "one", 5)
        await suite.discovery.kill()
        await succeed(client, "one", 20)
        unknown = await client.start("two")
        assert await waiting(client, unknown)
        async with discovery_at(suite.world, suite.discovery.address):
            await succeed(client, "one", 20)
            async with suite.world.agent("agents/late", text__two=echo()) as late:
                await suite.register(late)
                assert (await client.wait(unknown)).state == State.STATE_SUCCEEDED


async def test_while_discovery_is_silent_what_is_known_goes_on(suite: Suite) -> None:
    async with suite.workflows() as client, suite.world.agent(text__one=echo()) as agent:
        await suite.register(agent)
        await client.create(ONE)
        await client.create(TWO)
        await succeed(client, "one", 1)
        pid = suite.discovery.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            unknown = asyncio.create_task(client.start("two"))
            await succeed(client, "one", 20)
            assert await waiting(client, await unknown)
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_what_one_caller_learns_changes_the_choice_of_another(
    suite: Suite, tmp_path: Path
) -> None:
    async def fail(_: agent_pb.ExecuteRequest) -> dict[str, Json]:
        raise AgentError(grpc.StatusCode.INTERNAL)

    async with (
        suite.world.agent("agents/bad", text__one=fail) as bad,
        suite.world.agent("agents/good", text__one=echo()) as good,
    ):
        await suite.register(bad)
        await suite.register(good)
        async with suite.workflows() as client:
            await client.create(ONE)
            await succeed(client, "one", 30)

            async def reported() -> bool:
                observed = await suite.observed("text.one")
                return observed["agents/bad"].calls > 0 and observed["agents/good"].calls > 20

            await until(reported)
        observed = await suite.observed("text.one")
        assert list(observed) == ["agents/good", "agents/bad"]
        failed = len(bad.requests)
        async with suite.workflows(f"sqlite:///{tmp_path}/another.db") as another:
            await another.create(ONE)
            for _ in range(30):
                await succeed(another, "one", 1)
        # One call in seventy explores.
        assert len(bad.requests) - failed < 10
