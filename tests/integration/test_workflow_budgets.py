"""Budgets over the API: an execution ends before the call that it can no longer afford."""

from __future__ import annotations

import pytest

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.workflow.v1 import execution_pb2
from brikk_shared.errors import BrikkError, Reason
from brikk_shared.status import from_status
from support.plain_agents import plain_agent
from support.scripted_discovery import candidate
from support.workflows import State, World, echo

FLOW = """
name: flow
budget: {budget}
steps:
  - {id: first, call: {capability: text.one}}
  - {id: second, call: {capability: text.one}}
  - {id: third, call: {capability: text.one}}
"""


def error(execution: execution_pb2.WorkflowExecution) -> BrikkError:
    assert execution.state == State.STATE_FAILED
    return from_status(execution.error)


async def test_no_call_is_made_beyond_the_budget_of_calls(world: World) -> None:
    async with world.agent(text__one=echo()) as agent, world.service() as client:
        await client.create(FLOW.replace("{budget}", "{calls: 2}"))
        ended = await client.run("flow")
        told = error(ended)
        assert told.reason is Reason.BUDGET_EXCEEDED
        assert told.metadata == {"budget": "calls", "limit": "2"}
        assert agent.calls["text.one"] == ended.usage.calls == 2
        history = await client.history(ended.name)
        assert [each.type for each in history][-2:] == ["step.succeeded", "execution.failed"]


@pytest.mark.parametrize("budget", ["{tokens: 15}", "{cost: 0.000015}"])
async def test_what_the_agents_report_counts(world: World, budget: str) -> None:
    async def answering() -> agent_pb.ExecuteResponse:
        return agent_pb.ExecuteResponse(usage=agent_pb.Usage(tokens=10, cost_micros=10))

    async with plain_agent(answering) as endpoint, world.service() as client:
        await world.discovery.offer(candidate("plain", "text.one", endpoint=endpoint))
        await client.create(FLOW.replace("{budget}", budget))
        ended = await client.run("flow")
        assert error(ended).reason is Reason.BUDGET_EXCEEDED
        assert (ended.usage.calls, ended.usage.tokens, ended.usage.cost_micros) == (2, 20, 20)


async def test_a_budget_that_lasts_ends_nothing(world: World) -> None:
    async with world.agent(text__one=echo()), world.service() as client:
        await client.create(FLOW.replace("{budget}", "{calls: 3, tokens: 1, cost: 0.01}"))
        ended = await client.run("flow")
        assert ended.state == State.STATE_SUCCEEDED
        assert ended.usage.calls == 3
