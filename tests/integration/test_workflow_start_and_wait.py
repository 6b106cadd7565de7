"""StartExecution with a wait: one call that starts a workflow and brings its result."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import grpc
import pytest

from brikk.workflow.v1 import execution_pb2, execution_service_pb2
from brikk_shared.errors import BrikkError, Reason
from brikk_shared.status import from_rpc_error
from brikk_shared.structs import Json, from_value, to_struct
from support.workflows import State, WorkflowClient, World, echo

ONE = """
name: one
steps:
  - id: only
    call: {capability: text.one, input: {n: "${input.n}"}}
output: "${steps.only.output}"
"""
LONG = timedelta(seconds=30)


async def start(
    client: WorkflowClient,
    given: Mapping[str, Json],
    wait: timedelta,
    *,
    request_id: str = "",
) -> execution_pb2.WorkflowExecution:
    request = execution_service_pb2.StartExecutionRequest(
        workflow="workflows/one", input=to_struct(given), request_id=request_id
    )
    request.wait_timeout.FromTimedelta(wait)
    return await client.executions.StartExecution(request, metadata=client.metadata, timeout=40)


async def test_it_answers_with_the_output_once_it_has_succeeded(world: World) -> None:
    async with world.agent(text__one=echo(by="one")), world.service() as client:
        await client.create(ONE)
        execution = await start(client, {"n": 1}, LONG)
        assert execution.state == State.STATE_SUCCEEDED
        assert from_value(execution.output) == {"n": 1, "by": "one"}


async def test_the_same_request_waits_for_the_same_execution(world: World) -> None:
    async with world.agent(text__one=echo()) as agent, world.service() as client:
        await client.create(ONE)
        first = await start(client, {"n": 1}, LONG, request_id="r1")
        again = await start(client, {"n": 1}, LONG, request_id="r1")
        assert again == first
        assert agent.calls["text.one"] == 1


async def test_after_the_wait_it_answers_how_it_stands(world: World) -> None:
    async with world.service() as client:
        await client.create(ONE)
        execution = await start(client, {"n": 1}, timedelta(milliseconds=50))
        assert execution.state == State.STATE_RUNNING
        assert not execution.HasField("output")
        async with world.agent(text__one=echo()):
            assert (await client.wait(execution.name)).state == State.STATE_SUCCEEDED


async def test_a_caller_that_gives_up_loses_nothing(world: World) -> None:
    async with world.service() as client:
        await client.create(ONE)
        name = await client.start("one", {"n": 1}, request_id="r1")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            request = execution_service_pb2.StartExecutionRequest(
                workflow="workflows/one", input=to_struct({"n": 1}), request_id="r1"
            )
            request.wait_timeout.FromTimedelta(LONG)
            await client.executions.StartExecution(request, metadata=client.metadata, timeout=0.2)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        async with world.agent(text__one=echo()):
            assert (await client.wait(name)).state == State.STATE_SUCCEEDED


async def test_a_wait_beyond_the_limit_is_refused_by_field(world: World) -> None:
    async with world.service() as client:
        await client.create(ONE)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await start(client, {"n": 1}, timedelta(seconds=301))
        error: BrikkError = from_rpc_error(caught.value)
        assert error.reason == Reason.INVALID_FIELD
        assert [each.field for each in error.violations] == ["wait_timeout"]
