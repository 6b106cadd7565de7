"""Services are found from words, by their own organisation only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.structs import to_struct
from brikk_shared.testing import Tokens
from support.discovery import TIMEOUT, Caller, Discovery, registration, serving
from support.refusals import refused

TRANSLATOR = agent_pb2.Agent(
    display_name="Babel",
    endpoint="127.0.0.1:9000",
    services=[
        agent_pb2.AgentService(
            service_id="translation",
            description="Machine translation between forty languages.",
            capabilities=[
                agent_pb2.AgentCapability(capability="language.detect", tags=["guess"]),
                agent_pb2.AgentCapability(
                    capability="text.translate",
                    version="1.2",
                    input_schema=to_struct({"type": "object"}),
                    output_schema=to_struct({"type": "string"}),
                    examples=["Put this letter into French"],
                ),
            ],
        )
    ],
)


@pytest.fixture
async def discovery(database_url: str, tmp_path: Path) -> AsyncIterator[Discovery]:
    async with serving(database_url, Tokens(tmp_path)) as service:
        yield service


async def search(caller: Caller, query: str, most: int = 0) -> list[pb.SearchResult]:
    request = pb.SearchAgentsRequest(query=query, max_results=most)
    answer = await caller.stub.SearchAgents(request, metadata=caller.metadata, timeout=TIMEOUT)
    return list(answer.results)


async def order(caller: Caller, agent_id: str, state: agent_pb2.Agent.State.ValueType) -> None:
    request = pb.SetAgentStateRequest(name=f"agents/{agent_id}", state=state)
    await caller.stub.SetAgentState(request, metadata=caller.metadata, timeout=TIMEOUT)


async def test_a_service_is_found_without_its_schemas(discovery: Discovery) -> None:
    caller = discovery.caller()
    await caller.send(registration("babel", TRANSLATOR))
    await caller.register("writer", "text.write")
    result, also = await search(caller, "I want this text in French, please")
    assert (result.agent, also.agent) == ("agents/babel", "agents/writer")
    assert result.score > also.score > 0
    assert list(result.capabilities) == ["text.translate"]
    assert result.service.name == "agents/babel/services/translation"
    assert result.service.description == "Machine translation between forty languages."
    detect, translate = result.service.capabilities
    assert (detect.capability, translate.version) == ("language.detect", "1.2")
    assert not translate.HasField("input_schema")
    assert not translate.HasField("output_schema")


async def test_who_may_get_no_work_is_not_found(discovery: Discovery) -> None:
    caller = discovery.caller()
    lease = await caller.send(registration("babel", TRANSLATOR))
    assert len(await search(caller, "translate")) == 1
    for unwanted in (agent_pb2.Agent.STATE_DRAINING, agent_pb2.Agent.STATE_MAINTENANCE):
        await order(caller, "babel", unwanted)
        assert await search(caller, "translate") == []
        await order(caller, "babel", agent_pb2.Agent.STATE_READY)
        assert len(await search(caller, "translate")) == 1
    await caller.deregister("babel", lease.epoch)
    assert await search(caller, "translate") == []


async def test_another_organization_finds_nothing(discovery: Discovery) -> None:
    await discovery.caller("acme").send(registration("babel", TRANSLATOR))
    assert await search(discovery.caller("globex"), "translate") == []


async def test_an_answer_is_bounded_and_a_question_has_words(discovery: Discovery) -> None:
    caller = discovery.caller()
    for number in range(12):
        await caller.send(registration(f"babel-{number}", TRANSLATOR))
    assert len(await search(caller, "translate")) == 10
    assert len(await search(caller, "translate", 3)) == 3
    assert len(await search(caller, "translate", 1_000_000)) == 12
    assert await search(caller, "???") == []
    for wrong, field in ((search(caller, ""), "query"), (search(caller, "x", -1), "max_results")):
        error = await refused(wrong)
        assert error.reason is Reason.INVALID_FIELD
        assert [violation.field for violation in error.violations] == [field]


async def test_a_restart_forgets_nothing(database_url: str, tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    async with serving(database_url, tokens) as service:
        await service.caller().send(registration("babel", TRANSLATOR))
    async with serving(database_url, tokens) as service:
        assert len(await search(service.caller(), "translate")) == 1
