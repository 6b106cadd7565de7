"""Executions that run others on the service: once each, through crashes, ended together."""

from __future__ import annotations

import signal
from datetime import UTC, datetime

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.workflow.v1 import execution_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.database import Database
from brikk_shared.errors import Reason
from brikk_shared.status import from_status
from brikk_shared.structs import Json, from_value
from brikk_workflow.domain.wish import WishKind
from brikk_workflow.store.wishes import record_wish
from support.behind import run
from support.chaos import let_leases_end
from support.gates import Gate
from support.verbs import ask, kinds, until, until_it
from support.workflows import AgentError, State, WorkflowClient, World, echo

ABOVE = """
name: above
budget: {calls: 5}
steps:
  - id: each
    map:
      over: input.items
      steps:
        - {id: run, workflow: {workflow: "${input.which}", input: {n: "${item}"}}}
output: "${steps.each.output}"
"""
BELOW = """
name: below
steps:
  - {id: work, call: {capability: text.one, input: {n: "${input.n}"}}}
output: "${steps.work.output.n}"
"""
ITSELF = """
name: itself
steps:
  - {id: again, workflow: {workflow: itself}}
"""


async def executions(
    client: WorkflowClient, workflow: str
) -> list[execution_pb2.WorkflowExecution]:
    answer = await client.executions.ListExecutions(
        pb.ListExecutionsRequest(filter=pb.ExecutionFilter(workflow=f"workflows/{workflow}")),
        metadata=client.metadata,
        timeout=20,
    )
    return list(answer.executions)


def problem(execution: execution_pb2.WorkflowExecution) -> str:
    return f"{from_status(execution.error).reason} {execution.error.message}"


async def test_a_step_runs_another_workflow_once_through_a_kill(world: World) -> None:
    gate = Gate()
    async with world.agent(text__one=gate.work) as agent:
        async with world.process(replica_lease="1s") as first:
            await first.client.create(BELOW)
            await first.client.create(ABOVE)
            name = await first.client.start("above", {"which": "below", "items": [1, 2, 3]})
            await agent.until(lambda agent: agent.calls["text.one"] == 3)
            shown = await until_it(
                first.client, name, lambda it: sum(bool(step.execution) for step in it.steps) == 3
            )
            begun = {step.execution for step in shown.steps if step.execution}
            await first.process.kill()
        gate.open.set()
        async with world.process(replica_lease="1s") as second:
            ended = await second.client.wait(name, seconds=60)
            assert (ended.state, from_value(ended.output)) == (State.STATE_SUCCEEDED, [1, 2, 3])
            assert ended.usage.calls == 6, "each was made again"
            below = await executions(second.client, "below")
            assert {each.name for each in below} == begun
            assert (await kinds(second.client, name)).count("step.child_started") == 3


async def test_what_it_runs_does_not_outlive_it_by_a_crash(world: World) -> None:
    gate = Gate()
    async with world.agent(text__one=gate.work) as agent:
        async with world.process() as first:
            await first.client.create(BELOW)
            await first.client.create(ABOVE)
            name = await first.client.start("above", {"which": "below", "items": [1]})
            await agent.until(lambda agent: agent.calls["text.one"] == 1)
            await first.process.kill()
        await let_leases_end(world.database_url)
        above_id = name.removeprefix("executions/")
        async with (
            Database(world.database_url, migrations="brikk_workflow.store.migrations") as database,
            database.transaction(audit=()) as connection,
        ):
            await record_wish(
                connection,
                database,
                "acme",
                above_id,
                kind=WishKind.TERMINATE,
                attributes={"reason": "enough"},
                request_id="",
                now=datetime.now(UTC),
            )
        # They die with each commit, the last with the end, before anything follows from it.
        ended_above = f"SELECT 1 FROM execution WHERE execution_id = '{above_id}' AND end_time > 0"
        while not await run(world.database_url, ended_above):
            async with world.process(fault="commit.after") as dying:
                assert await dying.process.process.wait() == -signal.SIGKILL
            await let_leases_end(world.database_url)
        async with world.process(reconcile_interval="100ms") as second:
            above = await second.client.wait(name)
            assert above.state == State.STATE_TERMINATED
            [below] = await executions(second.client, "below")
            ended = await second.client.wait(below.name)
            assert ended.state == State.STATE_CANCELLED
            assert ended.error.message == f"{name} cancelled it"
        gate.open.set()


async def test_what_is_used_below_counts_above(world: World) -> None:
    async with world.agent(text__one=echo()), world.service() as client:
        await client.create(BELOW)
        await client.create(
            ABOVE.replace("over: input.items", "over: input.items\n      max_concurrency: 1")
        )
        name = await client.start("above", {"which": "below", "items": list(range(7))})
        ended = await client.wait(name)
        assert (ended.state, ended.usage.calls) == (State.STATE_FAILED, 5)
        assert len(await executions(client, "below")) == 6
        assert "BUDGET_EXCEEDED" in problem((await executions(client, "below"))[0])


async def test_what_it_runs_is_cancelled_with_it_also_when_others_fail(world: World) -> None:
    gate = Gate()

    async def refuse(request: agent_pb.ExecuteRequest) -> dict[str, Json]:
        if request.input["n"] == 2:
            raise AgentError(grpc.StatusCode.INVALID_ARGUMENT)
        return dict(await gate.work(request))

    async with world.agent(text__one=refuse) as agent, world.service() as client:
        await client.create(BELOW)
        await client.create(ABOVE)
        name = await client.start("above", {"which": "below", "items": [1]})
        await agent.until(lambda agent: agent.calls["text.one"] == 1)
        await ask(client, "CancelExecution", name)
        await until(client, name, State.STATE_CANCELLED)
        [below] = await executions(client, "below")
        ended = await client.wait(below.name)
        assert ended.state == State.STATE_CANCELLED
        assert ended.error.message == f"{name} cancelled it"
        failed = await client.run("above", {"which": "below", "items": [1, 2]})
        assert failed.state == State.STATE_FAILED
        assert "failed: Step work failed" in problem(failed)
        states = set()
        for each in await executions(client, "below"):
            states.add((await client.wait(each.name)).state)
        assert states == {State.STATE_CANCELLED, State.STATE_FAILED}
        gate.open.set()


async def test_what_cannot_be_run_fails_the_step(world: World) -> None:
    async with world.agent(text__one=echo()), world.service() as client:
        await client.create(ABOVE)
        await client.create(ITSELF)
        failed = await client.run("above", {"which": "nobody", "items": [1]})
        assert "workflows/nobody" in problem(failed)
        deep = await client.run("itself")
        assert deep.state == State.STATE_FAILED
        assert len(await executions(client, "itself")) == 8
        innermost = (await executions(client, "itself"))[0]
        [step] = (await ask(client, "GetExecution", innermost.name)).steps
        assert from_status(step.error).reason is Reason.NESTED_TOO_DEEP
