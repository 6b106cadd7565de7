"""Steps that call several agents on the service as it is: raced, counted, killed and taken up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import grpc
import pytest

from brikk.agent.v1.agent_runtime_service_pb2 import BidResponse, ExecuteRequest
from brikk.workflow.v1 import execution_pb2
from brikk_shared.structs import Json, from_struct, from_value
from support.gates import Gate
from support.scripted_discovery import candidate
from support.verbs import Execution, until_it
from support.workflows import AgentError, ScriptedAgent, State, World, echo

JURY = """
name: jury
budget: {calls: 100}
steps:
  - id: judges
    call: {capability: t.judge, select: all, quorum: 2, selector: "!broken", input: {claim: x}}
    timeout: {schedule_to_start: 1m}
output: "${steps.judges.output}"
"""
RACE = """
name: race
steps:
  - id: first
    call: {capability: t.judge, select: race, input: {claim: x}}
    catch: [{steps: [{id: none, fail: {reason: NOBODY_WON}}]}]
output: "${steps.first.output}"
"""
MARKET = """
name: market
steps:
  - id: job
    call:
      capability: t.job
      select: bids
      bids: {score: bid.confidence - bid.price}
      input: {n: 1}
    retry: {max_attempts: 1}
output: "${steps.job.output}"
"""


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    async with World(tmp_path, database_url).open() as world:
        yield world


def at(execution: Execution, path: str) -> execution_pb2.StepRun:
    """The step at a path."""
    return next(each for each in execution.steps if each.path == path)


async def test_a_quorum_is_reached_over_a_kill_at_the_same_agents(world: World) -> None:
    gate = Gate()
    async with AsyncExitStack() as stack:
        agents: list[ScriptedAgent] = [
            await stack.enter_async_context(world.agent(f"agents/{name}", t__judge=work))
            for name, work in (("quick", echo()), ("slow", gate.work), ("slower", Gate().work))
        ]
        quick, slow, slower = agents
        await stack.enter_async_context(
            world.agent("agents/broken", labels={"broken": "yes"}, t__judge=echo())
        )
        async with world.process(replica_lease="1s") as first:
            await first.client.create(JURY)
            name = await first.client.start("jury")
            for agent in agents:
                await agent.until(lambda agent: agent.calls["t.judge"] == 1)
            await until_it(first.client, name, lambda each: at(each, "judges").progress.done == 1)
            await first.process.kill()
        async with world.process(replica_lease="1s") as second:
            for agent in (slow, slower):
                await agent.until(lambda agent: agent.calls["t.judge"] == 2)
            gate.open.set()
            ended = await second.client.wait(name)
            assert ended.state == State.STATE_SUCCEEDED
            assert ended.usage.calls == 5
            entries = await second.client.history(name)
        answers = cast("list[dict[str, Json]]", from_value(ended.output))
        assert {each["agent"]: each["output"] for each in answers} == {
            "agents/quick": {"claim": "x"},
            "agents/slow": {"claim": "x"},
            "agents/slower": None,
        }
        assert quick.calls["t.judge"] == 1
        for agent in (slow, slower):
            assert len({each.idempotency_key for each in agent.requests}) == 1
            assert len({each.attempt_token for each in agent.requests}) == 2
        found = [each for each in entries if each.type == "step.agents_found"]
        assert len(found) == 1


async def test_the_losers_of_a_race_are_cancelled_at_their_agents(world: World) -> None:
    losers = [Gate(), Gate()]
    async with (
        world.agent("agents/a", t__judge=losers[0].work) as a,
        world.agent("agents/b", t__judge=losers[1].work) as b,
        world.process() as service,
    ):
        await service.client.create(RACE)
        name = await service.client.start("race")
        for agent in (a, b):
            await agent.until(lambda agent: agent.calls["t.judge"] == 1)
        losers[0].open.set()
        ended = await service.client.wait(name)
        assert ended.state == State.STATE_SUCCEEDED
        assert from_value(ended.output) == {"claim": "x"}
        await losers[1].left.wait()
        step = at(ended, "first")
        assert step.agent == "agents/a"
        assert (step.progress.total, step.progress.done) == (2, 1)


async def test_one_that_matches_is_waited_for_out_of_memory_as_well(world: World) -> None:
    async with (
        world.agent("agents/other", t__judge=echo(), labels={"broken": "yes"}),
        world.process(linger="0s") as service,
    ):
        await service.client.create(JURY)
        name = await service.client.start("jury")
        await until_it(
            service.client,
            name,
            lambda each: at(each, "judges").state == execution_pb2.StepRun.STATE_WAITING,
        )
        async with (
            world.agent("agents/a", t__judge=echo()),
            world.agent("agents/b", t__judge=echo()),
        ):
            ended = await service.client.wait(name)
        assert ended.state == State.STATE_SUCCEEDED
        entries = await service.client.history(name)
        # Neither the one that does not match nor the first of two woke it for nothing.
        assert [each.type for each in entries].count("step.waiting") == 1


async def test_the_best_bid_is_called_and_after_a_kill_still_it_and_then_the_next(
    world: World,
) -> None:
    gate, best = Gate(), BidResponse(cost_micros=100_000, confidence=0.9)
    absurd = BidResponse(cost_micros=0, confidence=2.0)

    async def fail(request: ExecuteRequest) -> dict[str, Json]:
        await gate.open.wait()
        raise AgentError(grpc.StatusCode.INVALID_ARGUMENT)

    async with (
        world.agent("agents/dear", t__job=echo(by="dear"), bid=BidResponse(cost_micros=500_000)),
        world.agent("agents/best", t__job=fail, bid=best) as winner,
        world.agent("agents/absurd", t__job=echo(by="absurd"), bid=absurd),
        world.agent("agents/plain", t__job=echo(by="plain")) as plain,
    ):
        # Without a bid of its own it bids what it registered: the price of its capability.
        await world.discovery.offer(
            candidate("plain", "t.job", endpoint=plain.endpoint, cost_micros=300_000)
        )
        async with world.process(replica_lease="1s") as first:
            await first.client.create(MARKET)
            name = await first.client.start("market")
            await winner.until(lambda agent: agent.calls["t.job"] == 1)
            await first.process.kill()
        async with world.process(replica_lease="1s") as second:
            await winner.until(lambda agent: agent.calls["t.job"] == 2)
            gate.open.set()
            ended = await second.client.wait(name)
            assert ended.state == State.STATE_SUCCEEDED
            entries = await second.client.history(name)
        assert from_value(ended.output) == {"n": 1.0, "by": "plain"}
        (ranked,) = (each for each in entries if each.type == "step.bids_ranked")
        bids = cast("list[dict[str, Json]]", from_struct(ranked.attributes)["bids"])
        assert [each["agent"] for each in bids] == ["agents/best", "agents/plain", "agents/dear"]
