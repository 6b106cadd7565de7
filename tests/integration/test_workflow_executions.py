"""Executions from start to end: graph, conditions, retries, timeouts, cancel, watch."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import grpc
import pytest

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.workflow.v1 import execution_pb2, execution_service_pb2
from brikk_shared.errors import Reason
from brikk_shared.status import from_rpc_error, from_status
from brikk_shared.structs import Json, from_struct, from_value
from support.refusals import refused
from support.workflows import AgentError, State, WorkflowClient, World, echo

CHAIN = """
name: chain
steps:
  - id: first
    call: {capability: text.one, input: {text: "${input.text}"}}
  - id: second
    call: {capability: text.two, input: {text: "${steps.first.output.text}"}}
output: {text: "${steps.second.output.text}", by: "${steps.second.output.by}"}
"""
ONE = """
name: one
steps:
  - id: only
    call: {capability: text.one, input: {n: "${input.n}"}}
    retry: {max_attempts: 3, initial: 10ms, jitter: 0}
output: "${steps.only.output}"
"""
StepState = execution_pb2.StepRun.State


def steps(execution: execution_pb2.WorkflowExecution) -> dict[str, execution_pb2.StepRun]:
    return {step.step_id: step for step in execution.steps}


async def test_a_chain_passes_outputs_on(world: World) -> None:
    async with (
        world.agent(text__one=echo(), text__two=echo(by="two")),
        world.service() as client,
    ):
        await client.create(CHAIN)
        execution = await client.run("chain", {"text": "hello"})

        assert execution.state == State.STATE_SUCCEEDED
        assert from_value(execution.output) == {"text": "hello", "by": "two"}
        assert [step.state for step in execution.steps] == [StepState.STATE_SUCCEEDED] * 2
        assert {step.agent for step in execution.steps} == {"agents/one"}
        history = await client.history(execution.name)
        assert [entry.sequence for entry in history] == list(range(1, len(history) + 1))
        assert history[0].type == "execution.started"
        assert history[-1].type == "execution.succeeded"
        attempts = [each for each in history if each.type == "step.attempt_started"]
        assert [each.attributes["agent"] for each in attempts] == ["agents/one", "agents/one"]


async def test_branches_join_and_conditions_skip(world: World) -> None:
    async with world.agent(text__one=echo()) as agent, world.service() as client:
        await client.create(
            """
name: graph
steps:
  - id: left
    after: []
    call: {capability: text.one, input: {side: left}}
  - id: right
    after: []
    call: {capability: text.one, input: {side: right}}
  - id: urgent
    after: [left]
    when: input.urgent
    call: {capability: text.one, input: {side: urgent}}
  - id: join
    after: [right, urgent]
    call:
      capability: text.one
      input: {sides: ["${steps.left.output.side}", "${steps.right.output.side}"]}
output: {sides: "${steps.join.output.sides}", urgent: "${steps.urgent.output}"}
"""
        )
        calm = await client.run("graph", {"urgent": False})
        assert from_value(calm.output) == {"sides": ["left", "right"], "urgent": None}
        assert steps(calm)["urgent"].state == StepState.STATE_SKIPPED
        assert agent.calls["text.one"] == 3

        urgent = await client.run("graph", {"urgent": True})
        assert from_value(urgent.output) == {
            "sides": ["left", "right"],
            "urgent": {"side": "urgent"},
        }
        assert agent.calls["text.one"] == 7


async def test_a_failed_attempt_is_repeated_by_another_agent(world: World) -> None:
    async def broken(request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        raise AgentError(grpc.StatusCode.INTERNAL)

    async with (
        world.agent("agents/broken", text__one=broken) as first,
        world.agent("agents/sound", text__one=echo()) as second,
        world.service() as client,
    ):
        await client.create(ONE)
        runs = [await client.run("one", {"n": n}) for n in range(4)]

        assert {run.state for run in runs} == {State.STATE_SUCCEEDED}
        assert first.requests, "the broken agent had its turn"
        for request in first.requests:
            again = next(each for each in second.requests if each.execution == request.execution)
            assert again.attempt == request.attempt + 1
            assert again.idempotency_key == request.idempotency_key
            assert again.attempt_token != request.attempt_token


async def test_a_step_fails_after_its_last_attempt(world: World) -> None:
    async def broken(request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        raise AgentError(grpc.StatusCode.INTERNAL, "no \x00luck")

    async with world.agent(text__one=broken) as agent, world.service() as client:
        await client.create(ONE)
        execution = await client.run("one", {"n": 1})

        assert execution.state == State.STATE_FAILED
        assert agent.calls["text.one"] == 3
        assert steps(execution)["only"].attempts == 3
        assert from_status(execution.error).reason == Reason.STEP_FAILED
        assert from_status(steps(execution)["only"].error).reason == Reason.AGENT_FAILED


async def test_an_agent_error_that_cannot_be_helped_is_not_repeated(world: World) -> None:
    async def refuse(request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        raise AgentError(grpc.StatusCode.INVALID_ARGUMENT)

    async with world.agent(text__one=refuse) as agent, world.service() as client:
        await client.create(ONE)
        assert (await client.run("one", {"n": 1})).state == State.STATE_FAILED
        assert agent.calls["text.one"] == 1


async def test_a_slow_call_times_out(world: World) -> None:
    never = asyncio.Event()

    async def slow(request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        await never.wait()
        return {}

    async with world.agent(text__one=slow), world.service() as client:
        await client.create(
            """
name: slow
steps:
  - id: only
    call: {capability: text.one}
    retry: {max_attempts: 2, initial: 1ms}
    timeout: {start_to_close: 50ms}
"""
        )
        execution = await client.run("slow")
        assert execution.state == State.STATE_FAILED
        error = from_status(steps(execution)["only"].error)
        assert (error.reason, error.metadata["timeout"]) == (
            Reason.STEP_TIMEOUT,
            "start_to_close",
        )
        assert steps(execution)["only"].attempts == 2


async def test_an_unknown_capability_waits_then_fails_with_its_reason(world: World) -> None:
    async with world.service() as client:
        await client.create(
            """
name: nobody
steps:
  - id: only
    call: {capability: text.nobody}
    retry: {max_attempts: 1}
    timeout: {schedule_to_start: 100ms}
"""
        )
        execution = await client.run("nobody")
        assert execution.state == State.STATE_FAILED
        error = from_status(steps(execution)["only"].error)
        assert error.reason == Reason.NO_AGENT
        assert error.metadata["capability"] == "text.nobody"


async def test_a_step_waits_for_an_agent_to_come(world: World) -> None:
    async with world.service() as client:
        await client.create(ONE)
        name = await client.start("one", {"n": 1})
        waiting = await client.executions.GetExecution(
            execution_service_pb2.GetExecutionRequest(name=name), metadata=client.metadata
        )
        assert steps(waiting)["only"].state == StepState.STATE_WAITING
        async with world.agent(text__one=echo()):
            assert (await client.wait(name)).state == State.STATE_SUCCEEDED


async def test_the_workflow_timeout_ends_it(world: World) -> None:
    async with world.service() as client:
        await client.create(
            """
name: late
timeout: 100ms
steps:
  - id: only
    call: {capability: text.nobody}
"""
        )
        execution = await client.run("late")
        assert execution.state == State.STATE_FAILED
        assert from_status(execution.error).reason == Reason.EXECUTION_TIMEOUT


async def test_cancel_ends_the_call_and_the_execution(world: World) -> None:
    cancelled = asyncio.Event()

    async def work(request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return {}

    async with world.agent(text__one=work) as agent, world.service() as client:
        await client.create(ONE)
        name = await client.start("one", {"n": 1})
        await agent.until(lambda agent: bool(agent.requests))
        request = execution_service_pb2.CancelExecutionRequest(
            name=name, reason="not needed", request_id="c1"
        )
        for _ in range(2):
            answer = await client.executions.CancelExecution(request, metadata=client.metadata)
            assert answer.name == name
        execution = await client.wait(name)
        assert execution.state == State.STATE_CANCELLED
        assert execution.error.message == "not needed"
        assert steps(execution)["only"].state == StepState.STATE_CANCELLED
        await asyncio.wait_for(cancelled.wait(), 10)

        # It stays as it is.
        again = await client.executions.CancelExecution(
            execution_service_pb2.CancelExecutionRequest(name=name), metadata=client.metadata
        )
        assert again.state == State.STATE_CANCELLED
        kinds = [entry.type for entry in await client.history(name)]
        assert kinds.count("execution.cancelled") == 1


async def test_a_start_is_idempotent(world: World) -> None:
    async with world.agent(text__one=echo()) as agent, world.service() as client:
        await client.create(ONE)
        names = await asyncio.gather(
            *(client.start("one", {"n": 1}, request_id="r1") for _ in range(8))
        )
        assert len(set(names)) == 1
        await client.wait(names[0])
        assert agent.calls["text.one"] == 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.start("one", {"n": 2}, request_id="r1")
        error = from_rpc_error(caught.value)
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.REQUEST_ID_REUSED)


async def test_a_watch_shows_every_entry_once_and_ends(world: World) -> None:
    async with (
        world.agent(text__one=echo(), text__two=echo(by="two")),
        world.service() as client,
    ):
        await client.create(CHAIN)
        name = await client.start("chain", {"text": "hello"})
        seen: list[int] = []
        last = None
        async for update in client.executions.WatchExecution(
            execution_service_pb2.WatchExecutionRequest(name=name),
            metadata=client.metadata,
            timeout=30,
        ):
            seen += [entry.sequence for entry in update.entries]
            last = update.execution
        assert last is not None
        assert last.state == State.STATE_SUCCEEDED
        assert seen == list(range(1, last.sequence + 1))

        resumed = [
            entry.sequence
            async for update in client.executions.WatchExecution(
                execution_service_pb2.WatchExecutionRequest(name=name, after_sequence=seen[2]),
                metadata=client.metadata,
                timeout=30,
            )
            for entry in update.entries
        ]
        assert resumed == seen[3:]


async def test_a_watch_of_what_stands_still_says_that_it_lives(world: World) -> None:
    async with world.service(watch_heartbeat="1s") as client:
        await client.create(CHAIN)
        name = await client.start("chain", {"text": "hello"})
        seen = 0
        async for update in client.executions.WatchExecution(
            execution_service_pb2.WatchExecutionRequest(name=name),
            metadata=client.metadata,
            timeout=30,
        ):
            if not update.entries:
                break
            seen = update.execution.sequence
        assert (update.execution.name, update.execution.sequence) == (name, seen)
        assert update.execution.state == State.STATE_RUNNING


async def test_many_at_once_end_once_each(world: World) -> None:
    async with (
        world.agent(text__one=echo(), text__two=echo(by="two")) as agent,
        world.service() as client,
    ):
        await client.create(CHAIN)
        runs = await asyncio.gather(
            *(client.run("chain", {"text": str(number)}) for number in range(100))
        )
        assert [from_struct(run.input)["text"] for run in runs] == [str(n) for n in range(100)]
        assert {run.state for run in runs} == {State.STATE_SUCCEEDED}
        assert agent.calls == {"text.one": 100, "text.two": 100}


async def test_lists_are_paged_newest_first_and_filtered(world: World) -> None:
    async with world.agent(text__one=echo()), world.service() as client:
        await client.create(ONE)
        await client.create(ONE.replace("name: one", "name: other"))
        names = [(await client.run("one", {"n": n})).name for n in range(5)]
        await client.run("other", {"n": 1})

        shown: list[str] = []
        token = ""
        while True:
            page = await client.executions.ListExecutions(
                execution_service_pb2.ListExecutionsRequest(
                    page_size=2,
                    page_token=token,
                    filter=execution_service_pb2.ExecutionFilter(
                        workflow="workflows/one", states=[State.STATE_SUCCEEDED]
                    ),
                ),
                metadata=client.metadata,
            )
            shown += [each.name for each in page.executions]
            token = page.next_page_token
            if not token:
                break
        assert shown == names[::-1]
        error = await refused(
            client.executions.ListExecutions(
                execution_service_pb2.ListExecutionsRequest(page_token="junk"),
                metadata=client.metadata,
            )
        )
        assert error.reason == Reason.INVALID_PAGE_TOKEN


async def test_another_organisation_sees_nothing(world: World) -> None:
    async with world.agent(text__one=echo()), world.service() as client:
        await client.create(ONE)
        name = (await client.run("one", {"n": 1})).name
        other = WorkflowClient(client.address, world.tokens, "other")
        async with other:
            for call in (
                other.executions.GetExecution(
                    execution_service_pb2.GetExecutionRequest(name=name), metadata=other.metadata
                ),
                other.executions.WaitExecution(
                    execution_service_pb2.WaitExecutionRequest(name=name), metadata=other.metadata
                ),
                other.executions.CancelExecution(
                    execution_service_pb2.CancelExecutionRequest(name=name),
                    metadata=other.metadata,
                ),
                other.executions.ListHistory(
                    execution_service_pb2.ListHistoryRequest(parent=name), metadata=other.metadata
                ),
                other.executions.StartExecution(
                    execution_service_pb2.StartExecutionRequest(workflow="workflows/one"),
                    metadata=other.metadata,
                ),
            ):
                assert (await refused(call)).code == "NOT_FOUND"
            listed = await other.executions.ListExecutions(
                execution_service_pb2.ListExecutionsRequest(), metadata=other.metadata
            )
            assert not listed.executions


async def test_bad_input_is_refused_by_field(world: World) -> None:
    async with world.service() as client:
        await client.create(
            ONE.replace(
                "steps:",
                "input_schema: {required: [n], properties: {n: {type: number}}}\nsteps:",
                1,
            )
        )
        for given, reason in (({}, Reason.INVALID_INPUT), ({"n": "x"}, Reason.INVALID_INPUT)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.start("one", given)
            error = from_rpc_error(caught.value)
            assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)
            assert error.violations
        request = execution_service_pb2.StartExecutionRequest(workflow="workflows/one")
        request.input.update({"n": 1, "text": "a\x00b"})
        error = await refused(client.executions.StartExecution(request, metadata=client.metadata))
        assert error.violations[0].field == "input.text"
        request.input.update({"text": "x" * 1_100_000})
        error = await refused(client.executions.StartExecution(request, metadata=client.metadata))
        assert error.code == "INVALID_ARGUMENT"
        assert error.violations[0].field == "input"
