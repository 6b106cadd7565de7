"""What can be asked of executions that stand still, queued or quarantined, and how to find them."""

from __future__ import annotations

from collections import Counter

import pytest

from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.status import from_status
from brikk_shared.structs import from_struct
from support.gates import Gate
from support.verbs import ask, kinds, until
from support.workflows import State, WorkflowClient, World

SINGLE = """
name: single
concurrency: 1
steps:
  - id: only
    call: {capability: text.one, input: {n: "${input.n}"}}
output: "${steps.only.output.n}"
"""
ONCE = """
name: once
steps:
  - id: only
    call: {capability: text.one, input: {n: "${input.n}"}}
    timeout: {start_to_close: 200ms}
    at_most_once: suspend
output: "${steps.only.output.n}"
"""


async def listed(client: WorkflowClient, state: State.ValueType) -> set[str]:
    answer = await client.executions.ListExecutions(
        pb.ListExecutionsRequest(filter=pb.ExecutionFilter(states=[state])),
        metadata=client.metadata,
        timeout=20,
    )
    assert {each.state for each in answer.executions} <= {state}
    return {each.name for each in answer.executions}


async def test_queued_executions_are_paused_and_ended_without_a_call(world: World) -> None:
    gate = Gate()
    async with world.agent(text__one=gate.work) as agent, world.service() as client:
        await client.create(SINGLE)
        first = await client.start("single", {"n": 0})
        await agent.until(lambda agent: bool(agent.requests))
        waits, stands, cancelled, terminated = [
            await client.start("single", {"n": n}) for n in range(1, 5)
        ]
        assert await listed(client, State.STATE_QUEUED) == {waits, stands, cancelled, terminated}
        await ask(client, "PauseExecution", waits)
        await ask(client, "PauseExecution", stands)
        for name in (waits, stands):
            await until(client, name, State.STATE_PAUSED)
        assert await listed(client, State.STATE_PAUSED) == {waits, stands}
        await ask(client, "ResumeExecution", waits)
        assert (await until(client, waits, State.STATE_QUEUED)).state == State.STATE_QUEUED
        await ask(client, "CancelExecution", cancelled)
        await ask(client, "TerminateExecution", terminated)
        assert (await client.wait(cancelled)).state == State.STATE_CANCELLED
        assert (await client.wait(terminated)).state == State.STATE_TERMINATED

        gate.open.set()
        for name in (first, waits):
            assert (await client.wait(name)).state == State.STATE_SUCCEEDED
        assert {from_struct(each.input)["n"] for each in agent.requests} == {0, 1}
        await ask(client, "ResumeExecution", stands)
        assert (await client.wait(stands)).state == State.STATE_SUCCEEDED


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        ("ResumeExecution", State.STATE_SUCCEEDED),
        ("CancelExecution", State.STATE_CANCELLED),
        ("TerminateExecution", State.STATE_TERMINATED),
    ],
)
async def test_a_quarantined_execution_waits_for_what_somebody_decides(
    world: World, verb: str, state: State.ValueType
) -> None:
    gate = Gate()
    async with world.agent(text__one=gate.work) as agent, world.service() as client:
        await client.create(ONCE)
        name = await client.start("once", {"n": 1})
        held = await until(client, name, State.STATE_QUARANTINED)
        assert from_status(held.error).reason is Reason.OUTCOME_UNKNOWN
        assert not held.HasField("end_time")
        assert await listed(client, State.STATE_QUARANTINED) == {name}
        await ask(client, "PauseExecution", name)
        before = agent.calls["text.one"]
        gate.open.set()

        await ask(client, verb, name)
        assert (await client.wait(name)).state == state
        assert agent.calls["text.one"] - before == (1 if verb == "ResumeExecution" else 0)
        seen = Counter(await kinds(client, name))
        assert (seen["execution.quarantined"], seen["execution.paused"]) == (1, 0)
