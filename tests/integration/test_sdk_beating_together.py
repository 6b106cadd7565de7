"""Agents of one process beat with one message, and each of them is judged by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_agent import Agent
from brikk_agent.registry import Registry, registry_at
from support.agents import ScriptedRegistry, connection_to, served


@pytest.fixture
async def registry() -> ScriptedRegistry:
    return ScriptedRegistry()


@pytest.fixture
async def address(registry: ScriptedRegistry) -> AsyncIterator[str]:
    async with served(registry) as address:
        yield address


@asynccontextmanager
async def running(address: str, *tokens: str) -> AsyncIterator[list[Agent]]:
    """Agents of this process, one for each token."""
    connection = connection_to(address)
    agents = [
        Agent("echo", insecure=True, connection=replace(connection, token=token))
        for token in tokens
    ]
    for agent in agents:
        agent.capability("echo")(echo)
        await agent.start()
    try:
        yield agents
    finally:
        await asyncio.gather(*(agent.stop() for agent in agents))


def echo(text: str) -> dict[str, str]:
    return {"text": text}


def who(heartbeat: pb.HeartbeatRequest) -> set[str]:
    return {beat.agent for beat in heartbeat.beats}


def next_message_is_of(*agents: Agent) -> Callable[[ScriptedRegistry], bool]:
    """Whether the last message was of these agents, and of nobody else."""
    expected = {agent.name for agent in agents}
    return lambda seen: bool(seen.heartbeats) and who(seen.heartbeats[-1]) == expected


async def test_they_beat_with_one_message(registry: ScriptedRegistry, address: str) -> None:
    async with running(address, "t", "t", "t") as agents:
        await registry.until(next_message_is_of(*agents))
        assert len(registry.registrations) == 3, "each registers by itself"
        calls = len(registry.heartbeats)
        await registry.until(lambda seen: len(seen.heartbeats) >= calls + 5)
        for call in registry.heartbeats[calls:]:
            assert who(call) == {agent.name for agent in agents}
            assert len(call.beats) == 3
        assert len({beat.epoch for beat in registry.heartbeats[-1].beats}) == 3


async def test_they_beat_on_one_stream_until_the_last_leaves(
    registry: ScriptedRegistry, address: str
) -> None:
    async with running(address, "t", "t", "t") as agents:
        await registry.until(lambda seen: len(seen.heartbeats) >= 10)
        await asyncio.gather(*(agent.stop() for agent in agents[:2]))
        await registry.until(next_message_is_of(agents[2]))
        assert (registry.streams, registry.finished) == (1, 0)
    await registry.until(lambda seen: seen.finished == seen.streams)


async def test_a_registry_without_streams_is_called(
    registry: ScriptedRegistry, address: str
) -> None:
    registry.streaming = False
    async with running(address, "t", "t", "t") as agents:
        await registry.until(next_message_is_of(*agents))
        messages = len(registry.heartbeats)
        await registry.until(lambda seen: len(seen.heartbeats) >= messages + 5)
        assert registry.streams == 1, "it is asked once"
        assert len(registry.registrations) == 3
        assert registry.authorizations == {"Bearer t"}


async def test_who_loses_its_lease_registers_again_and_the_others_do_not(
    registry: ScriptedRegistry, address: str
) -> None:
    async with running(address, "t", "t", "t") as agents:
        await registry.until(next_message_is_of(*agents))
        registry.lost.add(agents[1].name)
        await registry.until(lambda seen: len(seen.registrations) == 4)
        assert registry.registrations[3].agent.name == agents[1].name
        calls = len(registry.heartbeats)
        await registry.until(
            lambda seen: any(len(call.beats) == 3 for call in seen.heartbeats[calls:])
        )
        assert len(registry.registrations) == 4


async def test_news_are_told_at_once_by_whom_they_concern(
    registry: ScriptedRegistry, address: str
) -> None:
    registry.interval = timedelta(minutes=1)
    async with running(address, "t", "t") as agents:
        for agent in agents:
            await agent.registered()
        for agent in agents:
            agent.ready = False
        await registry.until(next_message_is_of(*agents))
        assert not any(beat.ready for beat in registry.beats)
        agents[0].ready = True
        await registry.until(next_message_is_of(agents[0]))
        assert registry.beats[-1].ready


async def test_one_that_stops_leaves_the_others_beating(
    registry: ScriptedRegistry, address: str
) -> None:
    async with running(address, "t", "t", "t") as agents:
        await registry.until(next_message_is_of(*agents))
        await agents[0].stop()
        assert registry.departures[0].agent == agents[0].name
        await registry.until(next_message_is_of(*agents[1:]))
        assert len(registry.registrations) == 3


async def test_a_registry_that_fails_keeps_them_all(
    registry: ScriptedRegistry, address: str
) -> None:
    async with running(address, "t", "t", "t") as agents:
        await registry.until(next_message_is_of(*agents))
        registry.refusal = grpc.StatusCode.UNAVAILABLE
        await registry.until(lambda seen: not next_message_is_of(*agents)(seen))  # they try again
        registry.refusal = None
        await registry.until(next_message_is_of(*agents))
        assert len(registry.registrations) == 3, "the leases are still held"


async def test_who_shows_another_token_beats_by_itself(
    registry: ScriptedRegistry, address: str
) -> None:
    async with running(address, "one", "other") as agents:
        await registry.until(lambda seen: len(seen.heartbeats) >= 6)
        assert registry.authorizations == {"Bearer one", "Bearer other"}
        assert {frozenset(who(call)) for call in registry.heartbeats} == {
            frozenset({agent.name}) for agent in agents
        }


async def test_a_message_takes_no_more_beats_than_the_contract_allows(
    registry: ScriptedRegistry, address: str
) -> None:
    beats = [pb.Beat(agent=f"agents/a{number}", epoch=1) for number in range(1001)]
    async with registry_at(connection_to(address)) as way:
        answers = await asyncio.gather(*(way.beat(beat) for beat in beats))
    assert [result.agent for result, _ in answers] == [beat.agent for beat in beats]
    assert sorted(len(call.beats) for call in registry.heartbeats) == [1, 500, 500]


async def test_who_gives_up_does_not_take_the_others_with_it(
    registry: ScriptedRegistry, address: str
) -> None:
    async with registry_at(connection_to(address)) as way:
        beating = [asyncio.create_task(beat(way, name)) for name in ("stays", "leaves", "last")]
        await asyncio.sleep(0)  # they have asked, and the call is not sent yet
        beating[1].cancel()
        assert await beating[0] == "agents/stays"
        assert await beating[2] == "agents/last"
        assert beating[1].cancelled()


async def beat(way: Registry, name: str) -> str:
    result, _ = await way.beat(pb.Beat(agent=f"agents/{name}", epoch=1))
    return result.agent
