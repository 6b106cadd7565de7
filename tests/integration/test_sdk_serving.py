from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk.agent.v1.agent_runtime_service_pb2_grpc import AgentRuntimeServiceStub
from brikk_agent import Agent, AgentError, Bid, CannotStart, Context, NotRetryable, Retryable
from support.agents import (
    CallKeys,
    ScriptedRegistry,
    connection_to,
    error_info,
    execute,
    served,
)


class Sum(TypedDict):
    sum: int


def nothing() -> dict[str, str]:
    return {}


@pytest.fixture
def keys(tmp_path: Path) -> CallKeys:
    return CallKeys(tmp_path)


@pytest.fixture
async def registry() -> AsyncIterator[str]:
    async with served(ScriptedRegistry()) as address:
        yield address


@asynccontextmanager
async def running(agent: Agent) -> AsyncIterator[str]:
    await agent.start()
    try:
        yield agent.endpoint
    finally:
        await agent.stop()


def open_agent(registry: str, **options: Any) -> Agent:
    """An agent that anybody may call."""
    return Agent("worker", insecure=True, connection=connection_to(registry), **options)


async def failure(call: Awaitable[object]) -> tuple[grpc.StatusCode, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    info = error_info(caught.value)
    assert info.domain == "worker"
    return caught.value.code(), info.reason, info.metadata["retryable"]


async def test_sync_and_async_handlers_do_work(registry: str) -> None:
    agent = open_agent(registry)

    @agent.capability("math.add")
    def add(left: int, right: int = 1) -> Sum:
        return {"sum": left + right}

    @agent.capability("call.describe")
    async def describe(call: Context) -> dict[str, object]:
        assert call.remaining is not None
        return {
            "who": [call.capability, call.execution, call.step, call.idempotency_key],
            "attempt": call.attempt,
            "within": timedelta() < call.remaining <= timedelta(minutes=1),
        }

    async with running(agent) as endpoint:
        assert await execute(endpoint, "math.add", {"left": 2, "right": 3}) == {"sum": 5.0}
        assert await execute(endpoint, "math.add", {"left": 2}, timeout=None) == {"sum": 3.0}
        assert await execute(endpoint, "call.describe", {}, attempt=4) == {
            "who": ["call.describe", "executions/e1", "step", "key"],
            "attempt": 4.0,
            "within": True,
        }


async def test_failures_are_statuses_with_reasons(registry: str) -> None:
    agent = open_agent(registry)
    errors: dict[str, Callable[[], Exception]] = {
        "retryable": lambda: Retryable("WARMING_UP", "soon"),
        "final": lambda: NotRetryable("NO_SUCH_ORDER", "no such order"),
        "coded": lambda: AgentError("X", "x", retryable=True, code=grpc.StatusCode.NOT_FOUND),
        "defect": lambda: KeyError("jane@example.com"),
        "stop": lambda: StopIteration("end"),
    }

    @agent.capability("fail.sync")
    def fail_sync(how: str) -> dict[str, str]:
        raise errors[how]()

    @agent.capability("fail.async")
    async def fail_async(how: str) -> dict[str, str]:
        raise errors[how]()

    @agent.capability("fail.output")
    def fail_output() -> dict[str, object]:
        return {"a": {"b": "x\0"}}

    async with running(agent) as endpoint:
        for capability in ("fail.sync", "fail.async"):

            def fail(how: str, capability: str = capability) -> Awaitable[object]:
                return failure(execute(endpoint, capability, {"how": how}))

            assert await fail("retryable") == (grpc.StatusCode.ABORTED, "WARMING_UP", "true")
            assert await fail("final") == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "NO_SUCH_ORDER",
                "false",
            )
            assert await fail("coded") == (grpc.StatusCode.NOT_FOUND, "X", "true")
            for how in ("defect", "stop"):
                assert await fail(how) == (grpc.StatusCode.INTERNAL, "HANDLER_FAILED", "true")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await execute(endpoint, "fail.sync", {"how": "defect"})
        assert caught.value.details() == "fail.sync raised KeyError; see the agent's log"
        with pytest.raises(grpc.aio.AioRpcError, match=r"output\.a\.b: contains a NUL") as caught:
            await execute(endpoint, "fail.output", {})
        assert error_info(caught.value).reason == "INVALID_OUTPUT"


async def test_wrong_calls_are_refused_for_good(registry: str) -> None:
    agent = open_agent(registry)

    @agent.capability("math.add")
    def add(left: int) -> Sum:
        return {"sum": left}

    async with running(agent) as endpoint:
        assert await failure(execute(endpoint, "math.subtract", {})) == (
            grpc.StatusCode.UNIMPLEMENTED,
            "UNKNOWN_CAPABILITY",
            "false",
        )
        assert await failure(execute(endpoint, "math.add", {"left": "two"})) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_INPUT",
            "false",
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await execute(endpoint, "math.add", {"left": 1.5})
        assert error_info(caught.value).metadata["field"] == "left"


async def test_a_sync_handler_does_not_hold_up_the_others(registry: str) -> None:
    agent = open_agent(registry)
    release = threading.Event()

    @agent.capability("work.block")
    def block() -> dict[str, bool]:
        return {"released": release.wait(60)}

    @agent.capability("work.release")
    async def let_go() -> dict[str, bool]:
        release.set()
        return {}

    async with running(agent) as endpoint:
        # Only a loop that is free serves the second call, which ends the first.
        blocked = asyncio.create_task(execute(endpoint, "work.block", {}))
        await execute(endpoint, "work.release", {})
        assert await blocked == {"released": True}


async def test_more_calls_than_the_capacity_are_refused_until_one_ends(registry: str) -> None:
    agent = open_agent(registry, capacity=1)
    entered, release = threading.Event(), threading.Event()

    @agent.capability("work.block")
    def block() -> dict[str, bool]:
        entered.set()
        return {"released": release.wait(60)}

    async with running(agent) as endpoint:
        first = asyncio.create_task(execute(endpoint, "work.block", {}))
        await asyncio.to_thread(entered.wait, 60)
        assert await failure(execute(endpoint, "work.block", {})) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "OVER_CAPACITY",
            "true",
        )
        release.set()
        await first
        assert await execute(endpoint, "work.block", {}) == {"released": True}


async def test_a_handler_left_by_its_caller_keeps_its_place_until_it_ends(registry: str) -> None:
    agent = open_agent(registry, capacity=1)
    entered, release = threading.Event(), threading.Event()

    @agent.capability("work.block")
    def block() -> dict[str, bool]:
        entered.set()
        return {"released": release.wait(60)}

    async with running(agent) as endpoint:
        call = asyncio.create_task(execute(endpoint, "work.block", {}))
        await asyncio.to_thread(entered.wait, 60)
        call.cancel()
        await asyncio.wait({call})
        code, _, _ = await failure(execute(endpoint, "work.block", {}))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        release.set()
        assert await agent.stop(), "it drains when the handler ends"


async def test_an_async_handler_is_cancelled_with_its_call(registry: str) -> None:
    agent = open_agent(registry)
    entered, cancelled = asyncio.Event(), asyncio.Event()

    @agent.capability("work.wait")
    async def wait() -> dict[str, bool]:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return {}

    async with running(agent) as endpoint:
        call = asyncio.create_task(execute(endpoint, "work.wait", {}))
        await entered.wait()
        call.cancel()
        await cancelled.wait()


async def test_only_the_bearer_of_a_token_for_this_instance_may_call(
    registry: str, keys: CallKeys
) -> None:
    agent = Agent("worker", connection=connection_to(registry, keys))

    @agent.capability("math.add")
    def add(left: int) -> Sum:
        return {"sum": left}

    async with running(agent) as endpoint:
        given = {"left": 1}
        good = keys.token(agent.name)
        assert await execute(endpoint, "math.add", given, token=good) == {"sum": 1.0}
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED
        assert await failure(execute(endpoint, "math.add", given)) == (
            unauthenticated,
            "TOKEN_MISSING",
            "false",
        )
        for token in (
            "junk",
            keys.token("agents/worker-2"),
            keys.token(agent.name, lifetime=timedelta(minutes=-1)),
        ):
            call = execute(endpoint, "math.add", given, token=token)
            assert await failure(call) == (unauthenticated, "TOKEN_INVALID", "false")
        # Who may not call learns nothing about what there is to call.
        assert (await failure(execute(endpoint, "no.such", {})))[0] is unauthenticated


async def test_health_is_open_to_everybody(registry: str, keys: CallKeys) -> None:
    agent = Agent("worker", connection=connection_to(registry, keys))
    agent.capability("math.none")(nothing)
    async with running(agent) as endpoint, grpc.aio.insecure_channel(endpoint) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "brikk.agent.v1.AgentRuntimeService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_an_agent_that_could_not_work_does_not_start(registry: str) -> None:
    def agent(**options: Any) -> Agent:
        made = open_agent(registry, **options)

        @made.capability("math.add")
        def add(left: int) -> Sum:
            return {"sum": left}

        return made

    keyless = Agent("worker", connection=connection_to(registry))
    keyless.capability("math.none")(nothing)
    with pytest.raises(CannotStart, match="BRIKK_CALL_JWKS"):
        await keyless.start()
    with pytest.raises(CannotStart, match="no capability"):
        await open_agent(registry).start()
    with pytest.raises(CannotStart, match="BRIKK_AGENT_ADVERTISE"):
        await agent(listen="0.0.0.0:0").start()
    async with running(agent()) as taken:
        with pytest.raises(CannotStart, match=f"cannot listen on {taken}"):
            await agent(listen=taken).start()


async def test_what_is_advertised_is_what_callers_use(registry: str) -> None:
    for advertise, expected in (
        ("agents.example", "agents.example:"),
        ("agents.example:9000", "agents.example:9000"),
        ("[2001:db8::1]", "[2001:db8::1]:"),
        ("[2001:db8::1]:9000", "[2001:db8::1]:9000"),
    ):
        agent = open_agent(registry, listen="0.0.0.0:0", advertise=advertise)
        agent.capability("math.none")(nothing)
        async with running(agent) as endpoint:
            assert endpoint.startswith(expected)
            assert endpoint.rpartition(":")[2].isdigit()


async def test_stopping_what_does_not_run_is_fine(registry: str) -> None:
    agent = open_agent(registry)
    agent.capability("math.none")(nothing)
    assert await agent.stop()
    async with running(agent):
        with pytest.raises(RuntimeError, match="runs already"):
            await agent.start()
    assert await agent.stop()
    with pytest.raises(RuntimeError, match="does not run"):
        _ = agent.endpoint


async def test_it_bids_as_it_says_or_what_it_registered(registry: str) -> None:
    agent = open_agent(registry, capacity=3)

    @agent.capability("text.count")
    def count(text: str, words: bool = False) -> dict[str, int]:
        return {"count": len(text.split() if words else text)}

    @agent.bid("text.count")
    def bid(text: str) -> Bid | None:
        if not text:
            return None
        return Bid(cost_micros=2 * len(text), time=timedelta(seconds=len(text)), confidence=0.5)

    @agent.capability("text.echo")
    def repeat(text: str) -> dict[str, str]:
        return {"text": text}

    async def ask(endpoint: str, capability: str, text: str | int) -> pb.BidResponse:
        request = pb.BidRequest(capability=capability)
        request.input.update({"text": text, "words": True})
        async with grpc.aio.insecure_channel(endpoint) as channel:
            return await AgentRuntimeServiceStub(channel).Bid(request, timeout=20)

    async with running(agent) as endpoint:
        made = await ask(endpoint, "text.count", "four")
        assert (made.cost_micros, made.confidence, made.capacity) == (8, 0.5, 3)
        assert made.estimated_time.ToTimedelta() == timedelta(seconds=4)
        code, reason, _ = await failure(ask(endpoint, "text.count", ""))
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_BID")
        code, _, _ = await failure(ask(endpoint, "text.count", 1))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(endpoint, "text.echo", "x")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_it_bids_for_its_own_work_only(registry: str) -> None:
    agent = open_agent(registry)

    @agent.capability("text.echo")
    def repeat(text: str) -> dict[str, str]:
        return {"text": text}

    @agent.bid("text.ecco")
    def bid() -> Bid:
        return Bid()

    with pytest.raises(CannotStart, match="ecco"):
        await agent.start()
