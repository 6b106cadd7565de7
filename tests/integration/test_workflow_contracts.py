"""Calls keep to what agents say of their capabilities, and agents to what they say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brikk.discovery.v1.discovery_service_pb2 import CapabilityContract
from brikk_shared.errors import Reason
from brikk_shared.status import from_status
from brikk_shared.structs import from_struct
from support.scripted_discovery import candidate
from support.workflows import ScriptedAgent, State, WorkflowClient, World, echo

FLOW = """
name: flow
steps:
  - id: only
    call: {capability: text.one, input: {text: "${input.text}"}}
    retry: {initial: 10ms, max_attempts: 100}
"""
STRICT = CapabilityContract(
    id="strict",
    input_schema='{"required": ["text"], "properties": {"text": {"type": "string"}}}',
    output_schema='{"type": "object", "required": ["done"]}',
)


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    async with World(tmp_path, database_url).open() as world:
        world.discovery.contracts["strict"] = STRICT
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[WorkflowClient]:
    async with world.service() as client:
        await client.create(FLOW)
        yield client


async def bind(world: World, agent: ScriptedAgent) -> None:
    """Makes an agent promise to keep the contract."""
    name = agent.name.removeprefix("agents/")
    await world.discovery.offer(
        candidate(name, "text.one", endpoint=agent.endpoint, contract="strict")
    )


async def test_an_input_that_an_agent_does_not_take_is_not_sent(
    world: World, client: WorkflowClient
) -> None:
    async with world.agent(text__one=echo(done=True)) as agent:
        await bind(world, agent)
        execution = await client.run("flow", {"text": 1})
        assert execution.state == State.STATE_FAILED
        [step] = execution.steps
        error = from_status(step.error)
        assert error.reason is Reason.INPUT_MISMATCH
        assert error.code == "INVALID_ARGUMENT"
        assert error.metadata["field"] == "input.text"
        assert error.metadata["agent"] == "agents/one"
        assert error.message.endswith("input.text 1 is not of type 'string'")
        assert step.attempts == 1
        assert agent.requests == []
        assert (await client.run("flow", {"text": "x"})).state == State.STATE_SUCCEEDED


async def test_an_output_that_was_not_promised_is_asked_for_elsewhere(
    world: World, client: WorkflowClient
) -> None:
    async with world.agent("agents/bad", text__one=echo()) as bad:
        await bind(world, bad)
        name = await client.start("flow", {"text": "x"})
        await bad.until(lambda agent: bool(agent.requests))
        async with world.agent("agents/good", text__one=echo(done=True)) as good:
            await bind(world, good)
            execution = await client.wait(name)
    assert execution.state == State.STATE_SUCCEEDED, execution
    [step] = execution.steps
    assert from_struct(step.output)["done"] is True
    failed = [each for each in await client.history(name) if each.type == "step.attempt_failed"]
    assert {from_struct(each.attributes)["reason"] for each in failed} == {"OUTPUT_MISMATCH"}
