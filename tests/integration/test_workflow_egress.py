"""An agent's endpoint comes from a stranger: what must not be called is not, and steps say so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from brikk_agent import Agent
from brikk_shared.clock import SystemClock
from brikk_shared.egress import Egress, LookUp
from brikk_shared.errors import Reason
from brikk_shared.networks import IPAddress
from brikk_shared.status import from_status
from brikk_workflow.clients.agents import AgentCaller
from brikk_workflow.clients.work import Answered, Refused
from support.agents import CallKeys, ScriptedRegistry, connection_to, served
from support.calling import outcome_of, work
from support.canary import Canary, Rebinding, canary
from support.scripted_discovery import candidate
from support.workflows import State, World, echo

EVIL, HERE, THERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
"""Addresses of this machine; the last two stand for public ones."""
FLOW = """
name: flow
steps:
  - id: only
    call: {capability: text.one}
    retry: {max_attempts: 2, initial: 1ms, jitter: 0}
output: "${steps.only.output}"
"""


@pytest.fixture
def bird() -> Iterator[Canary]:
    with canary() as listener:
        yield listener


@pytest.fixture
async def world(tmp_path: Path, sqlite_url: str) -> AsyncIterator[World]:
    async with World(tmp_path, sqlite_url).open() as world:
        yield world


@pytest.mark.parametrize("host", [EVIL, "localhost", "2130706433"])
async def test_a_step_fails_with_the_reason(world: World, bird: Canary, host: str) -> None:
    evil = candidate("evil", "text.one", endpoint=f"{host}:{bird.port}")
    await world.discovery.offer(evil)
    async with world.service(egress_allowed=[]) as client:
        await client.create(FLOW)
        execution = await client.run("flow")
    assert execution.state == State.STATE_FAILED
    [step] = execution.steps
    error = from_status(step.error)
    assert (error.code, error.reason) == ("PERMISSION_DENIED", Reason.ADDRESS_REFUSED)
    assert error.metadata == {"address": host, "agent": "agents/evil"}
    assert error.message == (
        f"agents/evil: {host} must not be called:"
        " its address is not public, nor among those allowed"
    )
    assert step.attempts == 2
    assert not bird.touched


async def test_the_next_attempt_goes_to_an_agent_that_may_be_called(
    world: World, bird: Canary
) -> None:
    evil = candidate("evil", "text.one", endpoint=f"{THERE}:{bird.port}")
    await world.discovery.offer(evil)
    async with (
        world.agent("agents/good", text__one=echo(by="good")) as good,
        world.service(egress_allowed=[EVIL]) as client,
    ):
        await client.create(FLOW)
        executions = [await client.run("flow") for _ in range(4)]
    assert all(each.state == State.STATE_SUCCEEDED for each in executions)
    assert good.calls["text.one"] == 4


class Worker:
    """An agent that says where it is, at once or when it is let go."""

    def __init__(self, registry: str, keys: CallKeys, listen: str) -> None:
        self.agent = Agent(
            "worker", agent_id="worker", listen=listen, connection=connection_to(registry, keys)
        )
        self.begun = asyncio.Event()
        self.released = asyncio.Event()
        self._host = listen.partition(":")[0]
        self.agent.capability("where")(self._where)
        self.agent.capability("hold")(self._hold)

    async def _where(self) -> dict[str, str]:
        return {"host": self._host}

    async def _hold(self) -> dict[str, str]:
        self.begun.set()
        await self.released.wait()
        return {"host": self._host}


@pytest.fixture
def keys(tmp_path: Path) -> CallKeys:
    return CallKeys(tmp_path)


@pytest.fixture
async def registry() -> AsyncIterator[str]:
    async with served(ScriptedRegistry()) as address:
        yield address


@asynccontextmanager
async def working(registry: str, keys: CallKeys, listen: str) -> AsyncIterator[Worker]:
    worker = Worker(registry, keys, listen)
    await worker.agent.start()
    try:
        yield worker
    finally:
        await worker.agent.stop()


@asynccontextmanager
async def calling(keys: CallKeys, look_up: LookUp) -> AsyncIterator[AgentCaller]:
    egress = Egress([ip_network(HERE), ip_network(THERE)], look_up=look_up)
    caller = AgentCaller(egress=egress, signer=keys.signer, clock=SystemClock())
    try:
        yield caller
    finally:
        await caller.aclose()


async def call(
    caller: AgentCaller,
    port: int,
    capability: str = "where",
    timeout: timedelta = timedelta(seconds=30),
) -> Answered | Refused:
    order = work(capability, {}, timeout=timeout)
    return await outcome_of(caller, "agents/worker", f"agent.example:{port}", order)


def host_of(outcome: Answered | Refused) -> object:
    assert isinstance(outcome, Answered), outcome
    return outcome.output["host"]


def reason_of(outcome: Answered | Refused) -> Reason:
    assert isinstance(outcome, Refused), outcome
    return outcome.failure.reason


async def test_a_name_is_looked_up_for_a_way_and_not_for_a_call(
    registry: str, keys: CallKeys, bird: Canary
) -> None:
    look_up = Rebinding(HERE, EVIL)
    async with calling(keys, look_up) as caller:
        async with working(registry, keys, f"{HERE}:{bird.port}"):
            for _ in range(5):
                assert host_of(await call(caller, bird.port)) == HERE
            assert look_up.look_ups == 1
        assert reason_of(await call(caller, bird.port)) == Reason.AGENT_UNAVAILABLE
        for _ in range(2):
            assert reason_of(await call(caller, bird.port)) == Reason.ADDRESS_REFUSED
    assert not bird.touched


async def test_an_agent_that_moved_is_found_and_its_last_calls_end_where_they_began(
    registry: str, keys: CallKeys, bird: Canary
) -> None:
    port = bird.port
    async with (
        working(registry, keys, f"{HERE}:{port}") as old,
        working(registry, keys, f"{THERE}:{port}"),
        calling(keys, Rebinding(HERE, THERE)) as caller,
    ):
        held = asyncio.create_task(call(caller, port, "hold"))
        await old.begun.wait()
        late = await call(caller, port, "hold", timeout=timedelta(milliseconds=1))
        assert reason_of(late) == Reason.STEP_TIMEOUT
        assert host_of(await call(caller, port)) == THERE
        old.released.set()
        assert host_of(await held) == HERE
    assert not bird.touched


async def test_a_name_that_is_not_known_or_slow_to_look_up_is_an_agent_out_of_reach(
    keys: CallKeys,
) -> None:
    async def unknown(host: str) -> Sequence[IPAddress]:
        raise OSError

    async def endless(host: str) -> Sequence[IPAddress]:
        answers: asyncio.Future[Sequence[IPAddress]] = asyncio.get_running_loop().create_future()
        return await answers

    async with calling(keys, unknown) as caller:
        outcome = await call(caller, 1)
        assert reason_of(outcome) == Reason.AGENT_UNAVAILABLE
        assert isinstance(outcome, Refused)
        assert outcome.failure.message == (
            "agents/worker could not be reached: the name agent.example was not found"
        )
    async with calling(keys, endless) as caller:
        outcome = await call(caller, 1, timeout=timedelta(milliseconds=1))
        assert reason_of(outcome) == Reason.STEP_TIMEOUT
