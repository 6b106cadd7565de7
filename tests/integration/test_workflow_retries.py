"""RetryExecution: a new execution in place of one that ended badly, which keeps what was done."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import grpc
import pytest

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.workflow.v1 import execution_pb2, workflow_service_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.structs import Json, from_struct, from_value, to_struct
from support.refusals import refused
from support.verbs import Execution, ask
from support.workflows import AgentError, State, WorkflowClient, World, echo

CHAIN = """
name: chain
steps:
  - id: first
    call: {capability: text.one, input: {n: "${input.n}"}}
  - id: aside
    after: []
    when: input.n > 5
    call: {capability: text.one, input: {n: "${input.n}"}}
  - id: second
    after: [first, aside]
    call: {capability: text.two, input: {n: "${steps.first.output.n}"}}
    retry: {max_attempts: 1}
  - id: third
    call: {capability: text.three, input: {n: "${steps.second.output.n}"}}
output: {n: "${steps.third.output.n}", by: "${steps.third.output.by}"}
"""
StepState = execution_pb2.StepRun.State


class Shaky:
    """Work that fails until it is mended."""

    def __init__(self) -> None:
        self.mended = False

    async def work(self, request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        if not self.mended:
            raise AgentError(grpc.StatusCode.FAILED_PRECONDITION)
        return from_struct(request.input)


async def retry(client: WorkflowClient, name: str, **more: str) -> Execution:
    return await ask(client, "RetryExecution", name, **more)


async def update(client: WorkflowClient, yaml: str) -> None:
    await client.workflows.UpdateWorkflow(
        workflow_service_pb2.UpdateWorkflowRequest(
            name="workflows/chain", source=workflow_service_pb2.DefinitionSource(yaml=yaml)
        ),
        metadata=client.metadata,
        timeout=20,
    )


async def test_what_was_done_is_kept_and_the_rest_is_run(world: World) -> None:
    shaky = Shaky()
    async with (
        world.agent(text__one=echo(), text__two=shaky.work, text__three=echo(by="three")) as agent,
        world.service() as client,
    ):
        await client.create(CHAIN)
        started = await client.executions.StartExecution(
            pb.StartExecutionRequest(
                workflow="workflows/chain", input=to_struct({"n": 1}), labels={"a": "b"}, priority=7
            ),
            metadata=client.metadata,
        )
        failed = await client.wait(started.name)
        assert failed.state == State.STATE_FAILED
        shaky.mended = True

        begun = await retry(client, failed.name)
        assert begun.name != failed.name
        assert (begun.retry_of, begun.priority) == (failed.name, 7)
        assert dict(begun.labels) == {"a": "b"}
        assert begun.workflow_version == "workflows/chain/versions/1"
        ended = await client.wait(begun.name)
        assert ended.state == State.STATE_SUCCEEDED
        assert from_value(ended.output) == {"n": 1, "by": "three"}
        assert agent.calls == Counter({"text.one": 1, "text.two": 2, "text.three": 1})
        assert [step.state for step in ended.steps] == [
            StepState.STATE_SUCCEEDED,
            StepState.STATE_SKIPPED,
            StepState.STATE_SUCCEEDED,
            StepState.STATE_SUCCEEDED,
        ]
        assert from_struct(ended.steps[0].output) == {"n": 1}
        assert ended.usage.calls == 2
        history = await client.history(begun.name)
        assert [entry.sequence for entry in history] == list(range(1, len(history) + 1))
        # The old one stays as it was.
        assert await client.wait(failed.name) == failed


async def test_the_same_request_retries_once(world: World) -> None:
    shaky = Shaky()
    async with (
        world.agent(text__one=echo(), text__two=shaky.work, text__three=echo(by="three")) as agent,
        world.service() as client,
    ):
        await client.create(CHAIN)
        failed = await client.run("chain", {"n": 1})
        another = await client.run("chain", {"n": 1})
        shaky.mended = True
        begun = await asyncio.gather(
            *(retry(client, failed.name, request_id="r1") for _ in range(8))
        )
        assert len({each.name for each in begun}) == 1
        assert (await client.wait(begun[0].name)).state == State.STATE_SUCCEEDED
        assert agent.calls["text.three"] == 1

        error = await refused(retry(client, another.name, request_id="r1"))
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.REQUEST_ID_REUSED)
        error = await refused(client.start("chain", {"n": 1}, request_id="r1"))
        assert error.reason is Reason.REQUEST_ID_REUSED
        # Another request retries it once more.
        assert (await retry(client, failed.name)).name != begun[0].name


async def test_a_newer_version_keeps_what_it_defines_alike(world: World) -> None:
    shaky = Shaky()
    async with (
        world.agent(text__one=echo(), text__two=shaky.work, text__three=echo(by="three")) as agent,
        world.service() as client,
    ):
        await client.create(CHAIN)
        failed = await client.run("chain", {"n": 1})
        await update(client, CHAIN.replace("text.two", "text.three"))
        begun = await retry(client, failed.name, workflow="workflows/chain")
        assert begun.workflow_version == "workflows/chain/versions/2"
        ended = await client.wait(begun.name)
        assert ended.state == State.STATE_SUCCEEDED
        assert agent.calls == Counter({"text.one": 1, "text.two": 1, "text.three": 2})

        # What is defined otherwise is done again, and so is all that comes after it.
        await update(client, CHAIN.replace("text.one, input: {n", "text.three, input: {m"))
        begun = await retry(client, failed.name, workflow="workflows/chain/versions/3")
        ended = await client.wait(begun.name)
        assert ended.state == State.STATE_FAILED
        assert agent.calls["text.one"] == 1


async def test_one_that_runs_or_has_succeeded_is_not_retried(world: World) -> None:
    gate = asyncio.Event()

    async def work(request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        await gate.wait()
        return from_struct(request.input)

    async with (
        world.agent(text__one=work, text__two=echo(), text__three=echo(by="three")) as agent,
        world.service() as client,
    ):
        await client.create(CHAIN)
        name = await client.start("chain", {"n": 1})
        await agent.until(lambda agent: bool(agent.requests))
        error = await refused(retry(client, name))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", Reason.WRONG_STATE)
        assert error.metadata == {"resource": name, "state": "RUNNING"}
        gate.set()
        await client.wait(name)
        error = await refused(retry(client, name))
        assert error.metadata == {"resource": name, "state": "SUCCEEDED"}


async def test_a_retry_runs_its_own_workflow_with_an_input_that_fits(world: World) -> None:
    async with world.agent(text__one=echo(), text__two=Shaky().work), world.service() as client:
        await client.create(CHAIN)
        failed = await client.run("chain", {"n": 1})
        error = await refused(retry(client, failed.name, workflow="workflows/other"))
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_FIELD)
        assert [each.field for each in error.violations] == ["workflow"]
        error = await refused(retry(client, failed.name, workflow="workflows/chain/versions/9"))
        assert error.reason is Reason.RESOURCE_NOT_FOUND
        await update(client, f"{CHAIN}\ninput_schema: {{type: object, required: [m]}}\n")
        error = await refused(retry(client, failed.name, workflow="workflows/chain"))
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_INPUT)


@pytest.mark.parametrize("verb", ["CancelExecution", "TerminateExecution"])
async def test_what_was_ended_on_request_goes_on(world: World, verb: str) -> None:
    gate = asyncio.Event()

    async def work(request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        await gate.wait()
        return from_struct(request.input)

    async with (
        world.agent(text__one=echo(), text__two=work, text__three=echo(by="three")) as agent,
        world.service() as client,
    ):
        await client.create(CHAIN)
        name = await client.start("chain", {"n": 1})
        await agent.until(lambda agent: agent.calls["text.two"] == 1)
        await ask(client, verb, name)
        await client.wait(name)
        gate.set()
        ended = await client.wait((await retry(client, name)).name)
        assert ended.state == State.STATE_SUCCEEDED
        assert agent.calls == Counter({"text.one": 1, "text.two": 2, "text.three": 1})


async def test_a_retry_without_an_agent_waits_for_one(world: World) -> None:
    async with world.agent(text__one=echo()), world.service() as client:
        await client.create(CHAIN)
        name = await client.start("chain", {"n": 1})
        await client.cancel(name)
        await client.wait(name)
        begun = await retry(client, name)
        async with world.agent("agents/two", text__two=echo(), text__three=echo(by="three")):
            ended = await client.wait(begun.name)
            assert from_value(ended.output) == {"n": 1, "by": "three"}
