"""Calls to an agent over a session: many on one stream, each with an end of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk.agent.v1.agent_runtime_service_pb2_grpc import AgentRuntimeServiceStub
from brikk_shared.errors import Reason
from brikk_shared.testing import ManualClock
from brikk_workflow.clients.agents import AgentCaller
from brikk_workflow.clients.work import Answered, Refused
from support.agents import CallKeys, ScriptedRegistry, served
from support.loopback import egress
from support.workers import Worker, call, text_of, working

LARGE = "x" * 900_000
TOKEN_LIFE = timedelta(minutes=5)


@pytest.fixture
def keys(tmp_path: Path) -> CallKeys:
    return CallKeys(tmp_path)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def caller(keys: CallKeys, clock: ManualClock) -> AsyncIterator[AgentCaller]:
    caller = AgentCaller(egress=egress(), signer=keys.signer, clock=clock)
    yield caller
    await caller.aclose()


@pytest.fixture
async def registry() -> AsyncIterator[str]:
    async with served(ScriptedRegistry()) as address:
        yield address


@pytest.fixture
async def worker(registry: str, keys: CallKeys) -> AsyncIterator[Worker]:
    async with working(Worker(registry, keys)) as worker:
        yield worker


async def test_each_call_gets_its_own_answer(caller: AgentCaller, worker: Worker) -> None:
    outcomes = await asyncio.gather(
        *(call(caller, worker, "echo", text=str(number)) for number in range(600))
    )
    assert [text_of(each) for each in outcomes] == [str(number) for number in range(600)]


async def test_a_failure_is_one_calls_own(caller: AgentCaller, worker: Worker) -> None:
    failed, done = await asyncio.gather(
        call(caller, worker, "fail"), call(caller, worker, "echo", text="fine")
    )
    assert text_of(done) == "fine"
    assert isinstance(failed, Refused)
    assert failed.failure.reason == Reason.AGENT_FAILED
    assert failed.failure.metadata["agent_reason"] == "OUT_OF_LUCK"
    assert failed.failure.retryable


async def test_a_handler_that_meets_a_cancellation_of_its_own_has_failed(
    caller: AgentCaller, worker: Worker
) -> None:
    failed = await call(caller, worker, "stray")
    assert isinstance(failed, Refused)
    assert failed.failure.metadata["agent_reason"] == "HANDLER_FAILED"


async def test_messages_stay_within_what_the_other_side_takes(
    caller: AgentCaller, worker: Worker
) -> None:
    outcomes = await asyncio.gather(
        *(call(caller, worker, "echo", text=f"{number}{LARGE}") for number in range(8))
    )
    assert [text_of(each) for each in outcomes] == [f"{number}{LARGE}" for number in range(8)]


async def test_a_late_call_fails_and_is_cancelled(caller: AgentCaller, worker: Worker) -> None:
    outcome = await call(caller, worker, "hold", timeout=timedelta(seconds=1))
    assert isinstance(outcome, Refused)
    assert outcome.failure.reason == Reason.STEP_TIMEOUT
    await worker.cancelled.wait()
    assert text_of(await call(caller, worker, "echo", text="next")) == "next"


async def test_cancelling_a_call_cancels_it_at_the_agent(
    caller: AgentCaller, worker: Worker
) -> None:
    held = asyncio.create_task(call(caller, worker, "hold"))
    await worker.begun.wait()
    held.cancel()
    await worker.cancelled.wait()
    assert text_of(await call(caller, worker, "echo", text="next")) == "next"


async def test_a_draining_agent_answers_what_it_took(
    caller: AgentCaller, worker: Worker, registry: str, keys: CallKeys
) -> None:
    held = asyncio.create_task(call(caller, worker, "hold"))
    await worker.begun.wait()
    stopping = asyncio.create_task(worker.agent.stop())
    while isinstance(late := await call(caller, worker, "echo", text="late"), Answered):
        pass  # the agent leaves the registry first
    assert late.failure.metadata["agent_reason"] == "SESSION_ENDING"
    assert late.failure.retryable
    worker.released.set()
    assert text_of(await held) == "released"
    assert await stopping
    async with working(Worker(registry, keys, listen=worker.endpoint)) as successor:
        while isinstance(outcome := await call(caller, successor, "echo", text="back"), Refused):
            assert outcome.failure.reason == Reason.AGENT_UNAVAILABLE
        assert text_of(outcome) == "back"


async def test_calls_under_way_fail_when_the_agent_goes(
    caller: AgentCaller, registry: str, keys: CallKeys
) -> None:
    async with working(Worker(registry, keys, grace=timedelta(0))) as worker:
        held = asyncio.create_task(call(caller, worker, "hold"))
        await worker.begun.wait()
    outcome = await held
    assert isinstance(outcome, Refused)
    assert outcome.failure.reason == Reason.AGENT_UNAVAILABLE


async def test_a_session_gives_way_to_one_with_a_newer_token(
    caller: AgentCaller, clock: ManualClock, worker: Worker
) -> None:
    held = asyncio.create_task(call(caller, worker, "hold"))
    await worker.begun.wait()
    clock.advance(TOKEN_LIFE)
    assert text_of(await call(caller, worker, "echo", text="newer")) == "newer"
    worker.released.set()
    assert text_of(await held) == "released"


async def test_an_agent_ends_a_session_when_its_token_expires(
    worker: Worker, keys: CallKeys
) -> None:
    token = keys.token(worker.agent.name, timedelta(seconds=1))
    async with grpc.aio.insecure_channel(worker.endpoint) as channel:
        stub = AgentRuntimeServiceStub(channel)
        session = stub.Session(metadata=(("authorization", f"Bearer {token}"),))
        order = pb.SessionOrder(order_id=1, request=pb.ExecuteRequest(capability="hold"))
        taken = await session.read()
        assert isinstance(taken, pb.SessionResponse)
        assert not taken.results
        await session.write(pb.SessionRequest(orders=[order]))
        await worker.begun.wait()
        reading = asyncio.ensure_future(session.read())
        worker.released.set()
        answer = await reading
        assert isinstance(answer, pb.SessionResponse)
        assert [each.order_id for each in answer.results] == [1]
        assert await session.read() is grpc.aio.EOF
        assert await session.code() is grpc.StatusCode.OK


async def test_an_order_that_is_cancelled_before_it_began_keeps_nobody(
    worker: Worker, keys: CallKeys
) -> None:
    async with grpc.aio.insecure_channel(worker.endpoint) as channel:
        stub = AgentRuntimeServiceStub(channel)
        token = keys.token(worker.agent.name)
        session = stub.Session(metadata=(("authorization", f"Bearer {token}"),))
        await session.read()
        order = pb.SessionOrder(order_id=1, request=pb.ExecuteRequest(capability="hold"))
        await session.write(pb.SessionRequest(orders=[order], cancelled=[1]))
        await session.done_writing()
        assert await session.read() is grpc.aio.EOF
        assert await session.code() is grpc.StatusCode.OK


async def test_a_stranger_gets_no_session(
    clock: ManualClock, worker: Worker, tmp_path: Path
) -> None:
    (tmp_path / "stranger").mkdir()
    signer = CallKeys(tmp_path / "stranger").signer
    stranger = AgentCaller(egress=egress(), signer=signer, clock=clock)
    try:
        outcome = await call(stranger, worker, "echo", text="let me in")
    finally:
        await stranger.aclose()
    assert isinstance(outcome, Refused)
    assert outcome.failure.code == "UNAUTHENTICATED"
