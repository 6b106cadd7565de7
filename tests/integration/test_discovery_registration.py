"""Agents register, are replaced, superseded and removed; what they may not do is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.testing import Tokens
from support.discovery import Caller, Discovery, agent, registration, serving, until
from support.refusals import refused

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
async def discovery(database_url: str, tmp_path: Path) -> AsyncIterator[Discovery]:
    async with serving(database_url, Tokens(tmp_path), max_agents=600) as service:
        yield service


@pytest.fixture
def caller(discovery: Discovery) -> Caller:
    return discovery.caller()


async def test_a_registration_answers_with_its_lease(caller: Caller) -> None:
    answer = await caller.register("writer", "text.write", capacity=4)
    assert answer.epoch >= 1
    assert answer.heartbeat_interval.ToTimedelta() == timedelta(seconds=10)
    assert answer.lease_duration.ToTimedelta() == timedelta(seconds=40)
    assert answer.agent.name == "agents/writer"
    assert answer.agent.services[0].name == "agents/writer/services/main"
    assert answer.agent.state == agent_pb2.Agent.STATE_READY
    lease = answer.agent.expire_time.ToDatetime() - answer.agent.heartbeat_time.ToDatetime()
    assert lease == timedelta(seconds=40)
    assert await caller.get("writer") == answer.agent


async def test_all_that_an_agent_says_is_kept(caller: Caller) -> None:
    said = ParseDict(
        {
            "display_name": "The wríter",
            "endpoint": "[::1]:9000",
            "zone": "eu-1a",
            "version": "1.2.3",
            "labels": {"team": "press", "": "empty key"},
            "capacity": 7,
            "protocol": "PROTOCOL_A2A_GRPC",
            "services": [
                {
                    "service_id": "prose",
                    "description": "Writes.",
                    "capabilities": [
                        {
                            "capability": "text.write",
                            "description": "Writes text.",
                            "tags": ["text", "prose"],
                            "input_schema": {
                                "type": "object",
                                "required": ["topic"],
                                "x": [1, None],
                            },
                            "output_schema": {},
                            "version": "1.4.0rc1",
                            "examples": ["Write me a poem."],
                            "cost_micros": "1500",
                            "latency": "1.250s",
                        },
                        {"capability": "text.edit"},
                    ],
                },
                {"service_id": "verse", "capabilities": [{"capability": "text.write"}]},
            ],
        },
        agent_pb2.Agent(),
    )
    await caller.send(registration("writer", said))
    kept = await caller.get("writer")
    assert kept.revision > 0
    for field in ("name", "state", "revision", "register_time", "heartbeat_time", "expire_time"):
        kept.ClearField(field)
    for service in kept.services:
        service.ClearField("name")
    assert kept == said


async def test_the_same_incarnation_keeps_its_lease_and_replaces_its_offers(
    caller: Caller,
) -> None:
    first = await caller.register("writer", "text.write", incarnation=ONE)
    again = await caller.register("writer", "text.write", incarnation=ONE)
    other = await caller.register("writer", "text.read", incarnation=ONE)
    assert first.epoch == again.epoch == other.epoch
    assert first.agent.register_time == other.agent.register_time
    assert await caller.resolve("text.write") == []
    assert await caller.resolve("text.read") == ["writer"]


async def test_a_superseded_incarnation_can_neither_renew_nor_remove(caller: Caller) -> None:
    old = await caller.register("writer", incarnation=ONE)
    new = await caller.register("writer", incarnation=TWO)
    assert new.epoch > old.epoch
    lost = await caller.beat("writer", old.epoch, draining=True)
    assert lost is not None
    assert (lost.code, lost.reason) == ("FAILED_PRECONDITION", Reason.LEASE_SUPERSEDED)
    assert lost.metadata["agent"] == "agents/writer"
    error = await refused(caller.deregister("writer", old.epoch))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", Reason.LEASE_SUPERSEDED)
    # It cannot come back either: the two would take turns for ever.
    error = await refused(caller.register("writer", incarnation=ONE))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", Reason.LEASE_SUPERSEDED)
    assert await caller.beat("writer", new.epoch) is None
    assert await caller.resolve() == ["writer"]


async def test_epochs_grow_across_removals(caller: Caller) -> None:
    old = await caller.register("writer", incarnation=ONE)
    await caller.deregister("writer", old.epoch)
    new = await caller.register("writer", incarnation=TWO)
    assert new.epoch > old.epoch
    assert await caller.beat("writer", old.epoch) is not None


async def test_removing_what_is_gone_answers_the_same(caller: Caller) -> None:
    held = await caller.register("writer")
    for _ in range(2):
        await caller.deregister("writer", held.epoch)
        assert await caller.resolve() == []
        assert (await refused(caller.get("writer"))).reason is Reason.RESOURCE_NOT_FOUND
    await caller.deregister("nobody", 1)


async def test_heartbeats_are_judged_one_by_one(caller: Caller) -> None:
    held = await caller.register("writer", capacity=2)
    answer = await caller.beats(
        pb.Beat(agent="agents/nobody", epoch=1),
        pb.Beat(agent="agents/writer", epoch=held.epoch, in_flight=2),
    )
    assert [(item.agent, item.status.code) for item in answer.results] == [
        ("agents/nobody", 5),
        ("agents/writer", 0),
    ]
    assert answer.heartbeat_interval.ToTimedelta() == timedelta(seconds=10)
    assert answer.lease_duration.ToTimedelta() == timedelta(seconds=40)
    assert answer.results[1].state == agent_pb2.Agent.STATE_BUSY
    kept = await caller.get("writer")
    assert (kept.state, kept.in_flight) == (agent_pb2.Agent.STATE_BUSY, 2)
    assert kept.state_reason == "0 of 2 slots free"


async def test_heartbeats_tell_readiness_and_capacity(caller: Caller) -> None:
    held = await caller.register("writer", capacity=2)

    async def state(**said: object) -> agent_pb2.Agent.State.ValueType:
        beat = pb.Beat(agent="agents/writer", epoch=held.epoch)
        return (await caller.beats(ParseDict(said, beat))).results[0].state

    assert await state(ready=False) == agent_pb2.Agent.STATE_BUSY
    assert (await caller.get("writer")).state_reason == "not ready by its own word"
    assert await state(in_flight=2, capacity=3) == agent_pb2.Agent.STATE_READY
    # What it said before holds.
    assert await state(in_flight=3) == agent_pb2.Agent.STATE_BUSY
    assert (await caller.get("writer")).capacity == 3
    assert await state(draining=True) == agent_pb2.Agent.STATE_DRAINING
    assert (await caller.get("writer")).state_reason == "by its own wish"
    again = await caller.register("writer", incarnation=ONE)
    assert (again.agent.capacity, again.agent.state) == (0, agent_pb2.Agent.STATE_READY)


async def test_a_herd_registers_and_registers_again(caller: Caller) -> None:
    herd = [f"agent-{number:03}" for number in range(500)]

    async def register(agent_id: str) -> int:
        return (await caller.register(agent_id, "herd.run", incarnation=ONE)).epoch

    epochs = await asyncio.gather(*map(register, herd))
    assert len(set(epochs)) == len(herd)
    assert await asyncio.gather(*map(register, herd)) == epochs
    assert len(await caller.candidates("herd.run", most=1000)) == 100
    beats = [
        pb.Beat(agent=f"agents/{agent_id}", epoch=epoch)
        for agent_id, epoch in zip(herd, epochs, strict=True)
    ]
    answer = await caller.beats(*beats)
    assert [item.status.code for item in answer.results] == [0] * len(herd)
    error = await refused(caller.beats(*beats, beats[0]))
    assert [violation.field for violation in error.violations] == ["beats"]


async def test_many_agents_are_asked_to_beat_less_often(database_url: str, tmp_path: Path) -> None:
    async with serving(database_url, Tokens(tmp_path), max_beats_per_second=1) as discovery:
        caller = discovery.caller()
        epochs = {
            f"agent-{number}": (await caller.register(f"agent-{number}")).epoch
            for number in range(25)
        }
        beats = [pb.Beat(agent=f"agents/{name}", epoch=epoch) for name, epoch in epochs.items()]

        async def stretched() -> bool:
            answer = await caller.beats(*beats)
            assert {item.status.code for item in answer.results} == {0}
            return answer.heartbeat_interval.ToTimedelta() == timedelta(seconds=25)

        await until(stretched)
        assert (await caller.beats(*beats)).lease_duration.ToTimedelta() == timedelta(seconds=100)
        kept = await caller.get("agent-0")
        lease = kept.expire_time.ToDatetime() - kept.heartbeat_time.ToDatetime()
        assert lease == timedelta(seconds=100)
        again = await caller.register("one-more")
        assert again.heartbeat_interval.ToTimedelta() == timedelta(seconds=25)
        assert again.lease_duration.ToTimedelta() == timedelta(seconds=100)


async def test_who_never_registers_again_stays_gone(database_url: str, tmp_path: Path) -> None:
    async with serving(database_url, Tokens(tmp_path)) as discovery:
        caller = discovery.caller()
        held = await caller.register("writer")
        await caller.deregister("writer", held.epoch)
        for _ in range(3):
            lost = await caller.beat("writer", held.epoch)
            assert lost is not None
            assert (lost.code, lost.reason) == ("NOT_FOUND", Reason.REREGISTER)
        assert await caller.resolve() == []


async def test_an_organization_may_have_only_so_many_agents(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, Tokens(tmp_path), max_agents=2) as discovery:
        caller, other = discovery.caller(), discovery.caller("globex")
        outcomes = await asyncio.gather(
            *(caller.register(name, incarnation=ONE) for name in ("one", "two", "three")),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, BaseException) for outcome in outcomes) == 1
        error = await refused(caller.register("four"))
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", Reason.QUOTA_EXCEEDED)
        assert error.metadata == {"quota": "agents", "limit": "2"}
        held = (await caller.page()).agents[0].name.removeprefix("agents/")
        lease = await caller.register(held, incarnation=TWO)
        await other.register("one")
        await caller.deregister(held, lease.epoch)
        await caller.register("four")


def versioned(version: str, latency: int = 0) -> agent_pb2.Agent:
    message = agent("a")
    message.services[0].capabilities[0].version = version
    message.services[0].capabilities[0].latency.seconds = latency
    return message


BROKEN = {
    "agent_id": pb.RegisterAgentRequest(agent_id="No!", agent=agent("a"), incarnation=ONE),
    "incarnation": pb.RegisterAgentRequest(agent_id="one", agent=agent("a"), incarnation="x"),
    "agent": pb.RegisterAgentRequest(agent_id="one", incarnation=ONE),
    "agent.name": registration("one", agent_pb2.Agent(name="agents/two")),
    "agent.endpoint": registration("one", agent("a", endpoint="127.0.0.1:0")),
    "agent.capacity": registration("one", agent("a", capacity=-1)),
    "agent.services": registration("one", agent_pb2.Agent(endpoint="h:1")),
    "agent.services[0].capabilities": registration("one", agent()),
    "agent.services[0].capabilities[1].capability": registration("one", agent("a", "a")),
    "agent.services[0].capabilities[0].version": registration("one", versioned("1..2")),
    "agent.services[0].capabilities[0].latency": registration("one", versioned("1", latency=-1)),
    "agent.display_name": registration("one", agent_pb2.Agent(display_name="a\0b")),
}


@pytest.mark.parametrize("field", BROKEN)
async def test_a_broken_registration_names_the_field(caller: Caller, field: str) -> None:
    request = BROKEN[field]
    if field in ("agent.name", "agent.display_name"):
        request.agent.MergeFrom(agent("a"))
    error = await refused(caller.send(request))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_FIELD)
    assert field in [violation.field for violation in error.violations]
    assert len((await caller.page()).agents) == 0


async def test_an_oversized_registration_is_refused(caller: Caller) -> None:
    message = agent("a")
    description = "x" * 2000
    for number in range(50):
        service = message.services.add(service_id=f"extra-{number}")
        for at in range(100):
            service.capabilities.add(capability=f"c{at}", description=description)
    assert message.ByteSize() > 4 * 1024 * 1024
    assert (await refused(caller.send(registration("one", message)))).code in (
        "INVALID_ARGUMENT",
        "RESOURCE_EXHAUSTED",
    )
    del message.services[10:]
    assert 1024 * 1024 < message.ByteSize() < 4 * 1024 * 1024
    error = await refused(caller.send(registration("one", message)))
    assert error.reason in (Reason.INVALID_FIELD, Reason.PAYLOAD_TOO_LARGE)
    assert [violation.field for violation in error.violations] == ["agent"]
    del message.services[4:]
    await caller.send(registration("one", message))
    assert await caller.resolve("c99") == ["one"]


async def test_what_is_not_a_message_is_refused(discovery: Discovery, caller: Caller) -> None:
    junk: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = discovery.channel.unary_unary(
        "/brikk.discovery.v1.DiscoveryService/RegisterAgent"
    )
    error = await refused(junk(b"\xff\xff\xff", metadata=caller.metadata, timeout=20))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.UNDECODABLE_REQUEST)
