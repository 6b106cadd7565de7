"""What calls used up reaches the execution, from agents of every kind, and nonsense does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk.agent.v1.agent_runtime_service_pb2_grpc import AgentRuntimeServiceStub
from brikk_shared.structs import to_struct
from brikk_workflow.clients.agents import AgentCaller
from brikk_workflow.clients.work import Answered, Outcome, Refused
from brikk_workflow.domain.usage import NO_USAGE, Usage
from support.agents import CallKeys
from support.calling import outcome_of, work
from support.plain_agents import plain_agent
from support.scripted_discovery import candidate
from support.workers import Worker, call, worker_and_caller
from support.workflows import State, World

FLOW = """
name: flow
steps:
  - id: first
    call: {capability: text.one}
  - id: second
    call: {capability: text.one}
"""


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Worker, AgentCaller]]:
    async with worker_and_caller(tmp_path) as both:
        yield both


@pytest.fixture
def caller(both: tuple[Worker, AgentCaller]) -> AgentCaller:
    return both[1]


async def ask(caller: AgentCaller, answer: pb.ExecuteResponse | status_pb2.Status) -> Outcome:
    async def answering() -> pb.ExecuteResponse | status_pb2.Status:
        return answer

    async with plain_agent(answering) as endpoint:
        return await outcome_of(caller, "agents/plain", endpoint, work("text.one", {}))


def failed(usage: pb.Usage) -> status_pb2.Status:
    status = status_pb2.Status(code=code_pb2.ABORTED, message="not today")
    status.details.add().Pack(usage)
    return status


async def test_handlers_tell_what_they_used(both: tuple[Worker, AgentCaller]) -> None:
    worker, caller = both
    answered = await call(caller, worker, "echo", text="four")
    assert isinstance(answered, Answered)
    assert answered.usage == Usage(tokens=5, cost_micros=3)


async def test_handlers_that_fail_tell_it_as_well(both: tuple[Worker, AgentCaller]) -> None:
    worker, caller = both
    refused = await call(caller, worker, "fail")
    assert isinstance(refused, Refused)
    assert refused.usage == Usage(tokens=7)


async def test_single_calls_tell_it_and_the_model(
    both: tuple[Worker, AgentCaller], tmp_path: Path
) -> None:
    worker, _ = both
    stub_metadata = (("authorization", f"Bearer {CallKeys(tmp_path).token(worker.agent.name)}"),)
    async with grpc.aio.insecure_channel(worker.endpoint) as channel:
        stub = AgentRuntimeServiceStub(channel)
        request = pb.ExecuteRequest(capability="echo", input=to_struct({"text": "four"}))
        response = await stub.Execute(request, metadata=stub_metadata, timeout=30)
        assert response.usage == pb.Usage(tokens=5, cost_micros=3, model="parrot-2")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Execute(
                pb.ExecuteRequest(capability="fail"), metadata=stub_metadata, timeout=30
            )
    used = pb.Usage()
    assert rpc_status.from_call(error.value).details[-1].Unpack(used)
    assert used == pb.Usage(tokens=7)


async def test_agents_without_sessions_tell_it(caller: AgentCaller) -> None:
    answered = await ask(caller, pb.ExecuteResponse(usage=pb.Usage(tokens=1, cost_micros=2)))
    assert isinstance(answered, Answered)
    assert answered.usage == Usage(tokens=1, cost_micros=2)
    refused = await ask(caller, failed(pb.Usage(tokens=3)))
    assert isinstance(refused, Refused)
    assert refused.usage == Usage(tokens=3)


@pytest.mark.parametrize(
    "usage", [pb.Usage(tokens=-1), pb.Usage(cost_micros=-1), pb.Usage(tokens=10**12 + 1)]
)
async def test_usage_that_cannot_be_is_no_answer(caller: AgentCaller, usage: pb.Usage) -> None:
    outcome = await ask(caller, pb.ExecuteResponse(usage=usage))
    assert isinstance(outcome, Refused)
    assert "usage" in outcome.failure.message
    assert outcome.usage is NO_USAGE
    refused = await ask(caller, failed(usage))
    assert isinstance(refused, Refused)
    assert refused.failure.message == "not today"
    assert refused.usage is NO_USAGE


async def test_an_execution_adds_it_up(tmp_path: Path, sqlite_url: str) -> None:
    answers = [failed(pb.Usage(tokens=1)), pb.ExecuteResponse(usage=pb.Usage(tokens=10))]
    answers.append(pb.ExecuteResponse(usage=pb.Usage(tokens=100, cost_micros=7)))

    async def answering() -> pb.ExecuteResponse | status_pb2.Status:
        return answers.pop(0)

    async with World(tmp_path, sqlite_url).open() as world, plain_agent(answering) as endpoint:
        await world.discovery.offer(candidate("plain", "text.one", endpoint=endpoint))
        async with world.service() as client:
            await client.create(FLOW)
            execution = await client.run("flow")
    assert execution.state == State.STATE_SUCCEEDED
    used = execution.usage
    assert (used.calls, used.tokens, used.cost_micros) == (3, 111, 7)
