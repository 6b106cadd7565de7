"""Agents are found by capability, listed and read, by their own organisation only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from google.protobuf.message import Message

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.testing import Tokens, bearer
from support.discovery import TIMEOUT, Caller, Discovery, agent, registration, serving
from support.refusals import refused

METHODS: dict[str, Message] = {
    "RegisterAgent": registration("writer", agent("text.write")),
    "Heartbeat": pb.HeartbeatRequest(beats=[pb.Beat(agent="agents/writer", epoch=1)]),
    "DeregisterAgent": pb.DeregisterAgentRequest(agent="agents/writer", epoch=1),
    "GetAgent": pb.GetAgentRequest(name="agents/writer"),
    "ListAgents": pb.ListAgentsRequest(),
    "ResolveCapability": pb.ResolveCapabilityRequest(capability="text.write"),
    "ListCapabilities": pb.ListCapabilitiesRequest(),
    "ReportOutcomes": pb.ReportOutcomesRequest(
        outcomes=[pb.Outcome(agent="agents/writer", capability="text.write", failures=9)]
    ),
}
READING = ("GetAgent", "ListAgents", "ResolveCapability", "ListCapabilities")


@pytest.fixture
async def discovery(database_url: str, tmp_path: Path) -> AsyncIterator[Discovery]:
    async with serving(database_url, Tokens(tmp_path)) as service:
        yield service


@pytest.fixture
def caller(discovery: Discovery) -> Caller:
    return discovery.caller()


async def test_the_best_comes_first_with_a_reason(caller: Caller) -> None:
    await caller.register("large", capacity=8)
    small = await caller.register("small", capacity=2)
    full = await caller.register("full", capacity=1)
    gone = await caller.register("gone", capacity=9)
    await caller.beat("small", small.epoch, in_flight=1)
    await caller.beat("full", full.epoch, in_flight=1)
    await caller.beat("gone", gone.epoch, draining=True)
    found = await caller.candidates()
    assert [candidate.agent for candidate in found] == [
        "agents/large",
        "agents/small",
        "agents/full",
    ]
    assert [candidate.rank_reason for candidate in found] == [
        "ready: 8 of 8 slots free",
        "ready: 1 of 2 slots free",
        "busy: 0 of 1 slots free",
    ]
    assert found[1] == pb.Candidate(
        agent="agents/small",
        endpoint="127.0.0.1:9000",
        state=agent_pb2.Agent.STATE_READY,
        in_flight=1,
        capacity=2,
        rank_reason="ready: 1 of 2 slots free",
        capability="text.write",
        protocol=agent_pb2.PROTOCOL_BRIKK,
        service="agents/small/services/main",
        register_time=(await caller.get("small")).register_time,
    )
    assert await caller.resolve(without=("large", "small")) == ["full"]
    assert await caller.resolve(without=("large", "small", "full")) == []
    assert (await caller.get("gone")).state == agent_pb2.Agent.STATE_DRAINING


async def test_nobody_offering_is_no_error(caller: Caller) -> None:
    assert await caller.resolve("text.sing") == []


async def test_an_answer_is_bounded(caller: Caller) -> None:
    for number in range(25):
        await caller.register(f"agent-{number}")
    assert len(await caller.candidates()) == 20
    assert len(await caller.candidates(most=3)) == 3
    assert len(await caller.candidates(most=1_000_000)) == 25
    error = await refused(caller.candidates(most=-1))
    assert [violation.field for violation in error.violations] == ["max_results"]


async def test_pages_lead_through_all_agents_by_name(caller: Caller) -> None:
    names = sorted(f"agents/agent-{number}" for number in range(12))
    for name in names:
        await caller.register(name.removeprefix("agents/"), "a" if "1" in name else "b")
    seen: list[str] = []
    token = ""
    while True:
        page = await caller.page(5, token)
        seen += [item.name for item in page.agents]
        token = page.next_page_token
        if not token:
            break
        assert len(page.agents) == 5
    assert seen == names
    offering = await caller.page(capability="a")
    assert [item.name for item in offering.agents] == [name for name in names if "1" in name]
    assert len((await caller.page(100_000)).agents) == 12
    assert len((await caller.page(12)).next_page_token) == 0


async def test_a_page_token_belongs_to_its_question(caller: Caller) -> None:
    for name in ("one", "two"):
        await caller.register(name, "a")
    token = (await caller.page(1)).next_page_token
    for wrong in (caller.page(1, token, capability="a"), caller.page(1, "junk")):
        assert (await refused(wrong)).reason is Reason.INVALID_PAGE_TOKEN
    error = await refused(caller.page(-1))
    assert [violation.field for violation in error.violations] == ["page_size"]


@pytest.mark.parametrize("name", ["", "writer", "agents/", "agents/No", "agents/a/services/b"])
async def test_a_malformed_name_is_refused(caller: Caller, name: str) -> None:
    request = pb.GetAgentRequest(name=name)
    error = await refused(caller.stub.GetAgent(request, metadata=caller.metadata, timeout=TIMEOUT))
    assert error.reason is Reason.INVALID_FIELD
    assert [violation.field for violation in error.violations] == ["name"]


async def test_another_organization_sees_nothing_on_any_call(discovery: Discovery) -> None:
    owner, stranger = discovery.caller("acme"), discovery.caller("globex")
    held = await owner.register("writer")
    before = await owner.get("writer")

    assert (await refused(stranger.get("writer"))).reason is Reason.RESOURCE_NOT_FOUND
    assert len((await stranger.page()).agents) == 0
    assert len((await stranger.page(capability="text.write")).agents) == 0
    assert await stranger.resolve() == []
    lost = await stranger.beat("writer", held.epoch, draining=True)
    assert lost is not None
    assert lost.reason is Reason.REREGISTER
    await stranger.deregister("writer", held.epoch)  # as for any agent that does not exist
    theirs = await stranger.register("writer", "text.forge")
    await stranger.deregister("writer", theirs.epoch)
    assert await owner.get("writer") == before


async def test_a_service_sees_the_organization_that_it_names(discovery: Discovery) -> None:
    await discovery.caller("acme").register("writer")
    token = discovery.tokens.internal("agent.read")
    for organization, expected in (("acme", ["writer"]), ("globex", [])):
        service = Caller(stub=discovery.stub, metadata=bearer(token, organization))
        assert await service.resolve() == expected
    nameless = Caller(stub=discovery.stub, metadata=bearer(token))
    assert (await refused(nameless.resolve())).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("method", METHODS)
async def test_every_call_needs_a_token_with_its_scope(discovery: Discovery, method: str) -> None:
    wrong = "agent" if method in READING else "agent.read"
    for metadata, reason in (
        ((), Reason.TOKEN_MISSING),
        (bearer("junk"), Reason.TOKEN_INVALID),
        (discovery.caller("acme", wrong).metadata, Reason.SCOPE_MISSING),
    ):
        call: Callable[..., Awaitable[object]] = getattr(discovery.stub, method)
        error = await refused(call(METHODS[method], metadata=metadata, timeout=TIMEOUT))
        assert error.reason is reason


async def test_what_happens_is_counted(discovery: Discovery, caller: Caller) -> None:
    held = await caller.register("writer")
    await caller.register("reader", "text.read")
    await caller.beat("writer", held.epoch, draining=True)
    await caller.beat("nobody", 1)
    await caller.resolve("text.read")
    await caller.resolve("text.write")
    metrics = await discovery.metrics()
    assert metrics["brikk_discovery_registrations_total"] == 2
    assert metrics["brikk_discovery_beats_total renewed"] == 1
    assert metrics["brikk_discovery_beats_total refused"] == 1
    assert metrics["brikk_discovery_resolutions_total found"] == 1
    assert metrics["brikk_discovery_resolutions_total empty"] == 1
    assert metrics["brikk_discovery_expired_total"] == 0
    states = {state: metrics[f"brikk_discovery_agents {state}"] for state in ("ready", "draining")}
    assert states == {"ready": 1, "draining": 1}
