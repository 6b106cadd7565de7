"""Callers say whom they want: every filter, what is refused, and the capabilities that exist."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.testing import Tokens
from support.discovery import TIMEOUT, Caller, Discovery, registration, serving
from support.refusals import refused


@pytest.fixture
async def discovery(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Discovery]:
    async with serving(sqlite_url, Tokens(tmp_path)) as service:
        yield service


@pytest.fixture
def caller(discovery: Discovery) -> Caller:
    return discovery.caller()


def offering(*capabilities: str, zone: str = "", **labels: str) -> agent_pb2.Agent:
    """An agent with a service for each capability, which may be written as `text.write=1.2`."""
    services = []
    for at, (name, _, version) in enumerate(item.partition("=") for item in capabilities):
        capability = agent_pb2.AgentCapability(
            capability=name, version=version, description=f"{name} in version {version}"
        )
        services.append(agent_pb2.AgentService(service_id=f"s{at}", capabilities=[capability]))
    return agent_pb2.Agent(endpoint="127.0.0.1:9000", zone=zone, labels=labels, services=services)


async def ask(caller: Caller, **wishes: Any) -> pb.ResolveCapabilityResponse:
    request = pb.ResolveCapabilityRequest(**{"capability": "text.write", **wishes})
    return await caller.stub.ResolveCapability(request, metadata=caller.metadata, timeout=TIMEOUT)


async def found(caller: Caller, **wishes: Any) -> list[str]:
    answer = await ask(caller, **wishes)
    return [candidate.agent.removeprefix("agents/") for candidate in answer.candidates]


async def capabilities(caller: Caller, **asked: Any) -> pb.ListCapabilitiesResponse:
    request = pb.ListCapabilitiesRequest(**asked)
    return await caller.stub.ListCapabilities(request, metadata=caller.metadata, timeout=TIMEOUT)


async def test_every_wish_must_hold(caller: Caller) -> None:
    gold = offering("text.write=1.9", zone="eu-1", tier="gold", region="eu")
    plain = offering("text.write=1.10", zone="us-1", region="us")
    foreign = offering("text.write", zone="eu-1", tier="gold", experimental="")
    foreign.protocol = agent_pb2.PROTOCOL_A2A_GRPC
    for name, message in (("gold", gold), ("plain", plain), ("foreign", foreign)):
        await caller.send(registration(name, message))
    assert await found(caller) == ["foreign", "gold", "plain"]
    assert await found(caller, selector="tier=gold") == ["foreign", "gold"]
    told = {each.agent: dict(each.labels) for each in (await ask(caller)).candidates}
    assert told["agents/gold"] == {"tier": "gold", "region": "eu"}
    assert await found(caller, selector="region in (eu,us), !experimental") == ["gold", "plain"]
    assert await found(caller, selector="tier!=gold") == ["plain"]
    assert await found(caller, version_range=">=1.2,<2") == ["gold", "plain"]
    assert await found(caller, version_range=">=1.10") == ["plain"]
    assert await found(caller, zone="eu-1") == ["foreign", "gold"]
    assert await found(caller, protocol=agent_pb2.PROTOCOL_A2A_GRPC) == ["foreign"]
    assert await found(caller, protocol=agent_pb2.PROTOCOL_BRIKK, zone="eu-1") == ["gold"]
    assert await found(caller, zone="eu-1", excluded_agents=["agents/gold"]) == ["foreign"]
    assert await found(caller, zone="eu-1", selector="tier=gold", version_range=">9") == []


async def test_a_candidate_says_what_it_offers_for_what(caller: Caller) -> None:
    message = offering("text.write=1.10", "text.write=1.9", zone="eu-1")
    message.services[0].capabilities[0].cost_micros = 250
    message.services[0].capabilities[0].latency.CopyFrom(Duration(seconds=2))
    await caller.send(registration("writer", message))
    newest = (await ask(caller)).candidates[0]
    assert (newest.capability, newest.version, newest.zone) == ("text.write", "1.10", "eu-1")
    assert newest.service == "agents/writer/services/s0"
    assert (newest.cost_micros, newest.latency.seconds) == (250, 2)
    assert not newest.HasField("observation")
    older = (await ask(caller, version_range="<1.10")).candidates[0]
    assert (older.version, older.service) == ("1.9", "agents/writer/services/s1")
    assert (older.cost_micros, older.HasField("latency")) == (0, False)


async def test_a_prefix_finds_all_below_it_once_for_each_capability(caller: Caller) -> None:
    await caller.send(registration("one", offering("text.write=1", "text.write=2", "text.read")))
    await caller.send(registration("two", offering("text", "textual.write")))
    answer = await ask(caller, capability="text.*")
    assert [(item.agent, item.capability, item.version) for item in answer.candidates] == [
        ("agents/one", "text.read", ""),
        ("agents/one", "text.write", "2"),
    ]
    held = await caller.send(registration("three", offering("text.sing.high")))
    assert await found(caller, capability="text.sing.*") == ["three"]
    assert await found(caller, capability="text.*", max_results=1) == ["one"]
    await caller.deregister("three", held.epoch)
    assert await found(caller, capability="text.sing.*") == []


async def test_an_answer_names_the_revision_that_it_reflects(caller: Caller) -> None:
    first = await caller.send(registration("one", offering("text.write")))
    assert (await ask(caller)).revision == first.agent.revision > 0
    second = await caller.send(registration("two", offering("text.read")))
    assert (await ask(caller)).revision == second.agent.revision > first.agent.revision
    assert (await ask(caller, capability="text.sing")).revision == second.agent.revision
    await caller.beat("one", first.epoch, in_flight=3)
    assert (await ask(caller)).revision == second.agent.revision


@pytest.mark.parametrize(
    ("wishes", "field", "position"),
    [
        ({"selector": "tier=gold,,region=eu"}, "selector", "11"),
        ({"selector": "tier in gold"}, "selector", "9"),
        ({"version_range": ">=1.2,two"}, "version_range", "7"),
    ],
)
async def test_a_malformed_wish_is_refused_with_its_field_and_position(
    caller: Caller, wishes: dict[str, str], field: str, position: str
) -> None:
    error = await refused(ask(caller, **wishes))
    assert error.reason is Reason.INVALID_FIELD
    assert error.metadata == {"field": field, "position": position}
    assert [each.field for each in error.violations] == [field]
    assert error.message.startswith(f"{field} at character {position}: expected ")


@pytest.mark.parametrize("capability", ["", "text.", "text.**", "*", "Text", "text.*.write"])
async def test_a_malformed_capability_is_refused(caller: Caller, capability: str) -> None:
    error = await refused(ask(caller, capability=capability))
    assert [each.field for each in error.violations] == ["capability"]


async def test_capabilities_are_listed_with_counts_and_versions(caller: Caller) -> None:
    held = await caller.send(registration("one", offering("text.write=1.9", "text.read")))
    await caller.send(registration("two", offering("text.write=1.10", "text.write=1.9")))
    await caller.send(registration("three", offering("sound.play")))
    await caller.beats(pb.Beat(agent="agents/one", epoch=held.epoch, ready=False))
    answer = await capabilities(caller)
    assert [item.capability for item in answer.capabilities] == [
        "sound.play",
        "text.read",
        "text.write",
    ]
    assert answer.capabilities[2] == pb.CapabilitySummary(
        capability="text.write",
        description="text.write in version 1.10",
        agent_count=2,
        ready_agent_count=1,
        versions=["1.10", "1.9"],
    )
    below = await capabilities(caller, prefix="text.r")
    assert [item.capability for item in below.capabilities] == ["text.read"]


async def test_many_versions_are_told_in_part(caller: Caller) -> None:
    versions = [f"text.write=1.{number}" for number in range(25)]
    await caller.send(registration("one", offering(*versions)))
    answer = await capabilities(caller)
    assert list(answer.capabilities[0].versions) == [f"1.{24 - number}" for number in range(20)]


async def test_pages_lead_through_all_capabilities(caller: Caller) -> None:
    names = [f"text.c{number:02}" for number in range(12)]
    await caller.send(registration("one", offering(*names, "sound.play")))
    seen: list[str] = []
    token = ""
    while True:
        page = await capabilities(caller, prefix="text.", page_size=5, page_token=token)
        seen += [item.capability for item in page.capabilities]
        token = page.next_page_token
        if not token:
            break
        assert len(page.capabilities) == 5
    assert seen == names
    token = (await capabilities(caller, prefix="text.", page_size=5)).next_page_token
    error = await refused(capabilities(caller, prefix="sound", page_size=5, page_token=token))
    assert error.reason is Reason.INVALID_PAGE_TOKEN
    error = await refused(capabilities(caller, page_size=-1))
    assert [each.field for each in error.violations] == ["page_size"]


async def test_capabilities_of_another_organization_do_not_exist(discovery: Discovery) -> None:
    await discovery.caller("acme").send(registration("one", offering("text.write=1")))
    stranger = discovery.caller("globex")
    assert len((await capabilities(stranger)).capabilities) == 0
    for wishes in ({}, {"capability": "text.*"}, {"selector": "!x"}, {"version_range": ">0"}):
        assert await found(stranger, **wishes) == []
