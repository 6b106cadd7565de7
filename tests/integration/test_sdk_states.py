"""What an agent tells the registry of itself beside being alive, and what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_agent import Agent, CannotStart, Connection
from brikk_shared.testing import Tokens
from support.discovery import Discovery, serving, until

State = agent_pb2.Agent.State


@pytest.fixture
async def discovery(database_url: str, tmp_path: Path) -> AsyncIterator[Discovery]:
    async with serving(
        database_url, Tokens(tmp_path), heartbeat_interval="0.2s", checkpoint_interval="0.1s"
    ) as discovery:
        yield discovery


def writer(discovery: Discovery) -> Agent:
    agent = Agent(
        "writer",
        agent_id="writer-1",
        insecure=True,
        connection=Connection(
            addresses={"discovery": discovery.address},
            token=discovery.tokens.user("acme", "agent"),
        ),
    )

    @agent.capability(
        "text.write",
        tags=["text"],
        version="1.4.0",
        examples=["write me a letter"],
        cost_micros=250,
        latency=timedelta(milliseconds=80),
    )
    def write(text: str) -> dict[str, str]:
        """Writes a text."""
        return {"text": text}

    return agent


async def test_what_it_says_of_a_capability_is_offered(discovery: Discovery) -> None:
    agent = writer(discovery)
    await agent.start()
    try:
        await agent.registered()
        (candidate,) = await discovery.caller().candidates("text.write")
        assert (candidate.version, candidate.cost_micros) == ("1.4.0", 250)
        assert candidate.latency == Duration(nanos=80_000_000)
        found = await discovery.caller().get("writer-1")
        assert list(found.services[0].capabilities[0].examples) == ["write me a letter"]
    finally:
        await agent.stop()


@pytest.mark.parametrize("at_first", [True, False])
async def test_one_that_is_not_ready_is_busy_until_it_is(
    discovery: Discovery, at_first: bool
) -> None:
    caller = discovery.caller()
    agent = writer(discovery)
    agent.ready = at_first
    await agent.start()
    try:
        await agent.registered()
        agent.ready = False

        async def busy() -> bool:
            return (await caller.get("writer-1")).state == State.STATE_BUSY

        async def ready() -> bool:
            return (await caller.get("writer-1")).state == State.STATE_READY

        await until(busy)
        agent.ready = True
        await until(ready)
    finally:
        await agent.stop()


async def test_it_hears_what_an_operator_wants_of_it(
    discovery: Discovery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    caller = discovery.caller()
    agent = writer(discovery)
    await agent.start()
    try:
        await agent.registered()
        for state in (State.STATE_MAINTENANCE, State.STATE_READY):
            await caller.stub.SetAgentState(
                pb.SetAgentStateRequest(name=agent.name, state=state),
                metadata=caller.metadata,
                timeout=20,
            )
            said = f"agents/writer-1 is now {State.Name(state).removeprefix('STATE_').lower()}"

            async def heard(said: str = said) -> bool:
                return any(said in message for message in caplog.messages)

            await until(heard)
    finally:
        await agent.stop()


async def test_of_two_with_one_id_the_first_gives_way(discovery: Discovery) -> None:
    async def first_is_found() -> bool:
        return bool(await discovery.caller().candidates("text.write"))

    first, second = writer(discovery), writer(discovery)
    serving = asyncio.create_task(first.serve())
    await until(first_is_found)
    await second.start()
    try:
        await second.registered()
        with pytest.raises(CannotStart, match="agents/writer-1"):
            await serving
        (candidate,) = await discovery.caller().candidates("text.write")
        assert candidate.endpoint == second.endpoint, "its leaving removed nothing"
    finally:
        await second.stop()
