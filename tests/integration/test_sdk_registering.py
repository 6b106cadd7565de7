from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from brikk_agent import Agent, CannotStart
from brikk_agent.structs import from_struct
from support.agents import ScriptedRegistry, connection_to, execute, served


@pytest.fixture
async def registry() -> ScriptedRegistry:
    return ScriptedRegistry()


@pytest.fixture
async def address(registry: ScriptedRegistry) -> AsyncIterator[str]:
    async with served(registry) as address:
        yield address


def agent_at(address: str, capacity: int = 64) -> Agent:
    agent = Agent(
        "summarizer",
        description="Shortens texts",
        version="1.2",
        zone="a",
        labels={"team": "help"},
        insecure=True,
        connection=connection_to(address),
        capacity=capacity,
    )

    @agent.capability("text.summarize", tags=["text"])
    def summarize(text: str, sentences: int = 3) -> dict[str, str]:
        """Shortens a text."""
        return {"text": text[:sentences]}

    return agent


async def test_an_agent_registers_what_it_is_and_can(
    registry: ScriptedRegistry, address: str
) -> None:
    agent = agent_at(address, capacity=7)
    await agent.start()
    try:
        await agent.registered()
        request = registry.registrations[0]
        assert agent.name == f"agents/{request.agent_id}"
        assert request.agent_id.startswith("summarizer-")
        assert len(request.incarnation) == 36
        found = request.agent
        assert (found.display_name, found.version, found.zone) == ("summarizer", "1.2", "a")
        assert (found.capacity, dict(found.labels)) == (7, {"team": "help"})
        assert found.endpoint == agent.endpoint
        (service,) = found.services
        assert (service.service_id, service.description) == ("summarizer", "Shortens texts")
        (capability,) = service.capabilities
        assert (capability.capability, list(capability.tags)) == ("text.summarize", ["text"])
        assert capability.description == "Shortens a text."
        assert from_struct(capability.input_schema)["required"] == ["text"]
        assert from_struct(capability.output_schema)["type"] == "object"
        assert registry.authorizations == {"Bearer agent-token"}
    finally:
        await agent.stop()


async def test_it_beats_with_its_load_and_leaves_when_it_stops(
    registry: ScriptedRegistry, address: str
) -> None:
    agent = agent_at(address)
    release = threading.Event()

    @agent.capability("work.block")
    def block() -> dict[str, bool]:
        return {"released": release.wait(60)}

    await agent.start()
    await registry.until(lambda seen: len(seen.beats) >= 2)
    call = asyncio.create_task(execute(agent.endpoint, "work.block", {}))
    await registry.until(lambda seen: seen.beats[-1].in_flight == 1)
    stopping = asyncio.create_task(agent.stop())
    await registry.until(lambda seen: bool(seen.departures))
    assert registry.beats[-1].draining
    assert not any(beat.draining for beat in registry.beats[:-1])
    release.set()
    assert await call == {"released": True}, "what is in flight is answered"
    assert await stopping
    assert (registry.departures[0].agent, registry.departures[0].epoch) == (agent.name, 1)
    assert {beat.epoch for beat in registry.beats} == {1}


async def test_a_lost_lease_is_taken_again_by_the_same_incarnation(
    registry: ScriptedRegistry, address: str
) -> None:
    agent = agent_at(address)
    await agent.start()
    try:
        await agent.registered()
        registry.lost.add(agent.name)
        await registry.until(lambda seen: len(seen.registrations) == 2)
        first, second = registry.registrations
        assert first == second
        await registry.until(lambda seen: seen.beats[-1].epoch == 2)
    finally:
        await agent.stop()
    assert registry.departures[-1].epoch == 2


async def test_a_registry_that_is_not_there_yet_is_waited_for(registry: ScriptedRegistry) -> None:
    async with served(ScriptedRegistry()) as address:
        port = int(address.rpartition(":")[2])
    agent = agent_at(address)
    await agent.start()
    try:
        assert await execute(agent.endpoint, "text.summarize", {"text": "abcdef"}) == {
            "text": "abc"
        }, "it serves meanwhile"
        async with served(registry, port):
            await agent.registered()
            await agent.stop()
    finally:
        await agent.stop()


async def test_a_registry_that_fails_for_a_while_keeps_the_agent(
    registry: ScriptedRegistry, address: str
) -> None:
    agent = agent_at(address)
    await agent.start()
    try:
        await agent.registered()
        registry.refusal = grpc.StatusCode.UNAVAILABLE
        beats = len(registry.beats)
        await registry.until(lambda seen: len(seen.beats) >= beats + 2)
        registry.refusal = None
        beats = len(registry.beats)
        await registry.until(lambda seen: len(seen.beats) >= beats + 3)
        assert len(registry.registrations) == 1, "the lease is still held"
    finally:
        await agent.stop()


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED]
)
async def test_an_agent_that_is_refused_for_good_ends(
    registry: ScriptedRegistry, address: str, code: grpc.StatusCode
) -> None:
    registry.refusal = code
    agent = agent_at(address)
    with pytest.raises(CannotStart, match="as the test says"):
        await agent.serve()
    await agent.start()
    with pytest.raises(CannotStart):
        await agent.registered()
    await agent.stop()


async def test_a_refused_token_is_reported_once_and_tried_again(
    registry: ScriptedRegistry, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry.refusal = grpc.StatusCode.UNAUTHENTICATED
    agent = agent_at(address)
    await agent.start()
    try:
        await registry.until(lambda seen: len(seen.registrations) >= 3)
        registry.refusal = None
        await agent.registered()
    finally:
        await agent.stop()
    (complaint,) = [each for each in caplog.messages if "cannot reach the registry" in each]
    assert "UNAUTHENTICATED" in complaint


async def test_leaving_a_registry_that_has_gone_does_not_fail(registry: ScriptedRegistry) -> None:
    async with served(registry) as address:
        agent = agent_at(address)
        await agent.start()
        await agent.registered()
    assert await agent.stop()


async def test_serve_ends_when_it_is_cancelled_or_stopped(
    registry: ScriptedRegistry, address: str, tmp_path: Path
) -> None:
    agent = agent_at(address)
    serving = asyncio.create_task(agent.serve())
    await registry.until(lambda seen: len(seen.beats) >= 1)
    assert await agent.stop()
    await serving
    serving = asyncio.create_task(agent.serve())
    await registry.until(lambda seen: len(seen.registrations) == 2)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert registry.registrations[0].incarnation != registry.registrations[1].incarnation
