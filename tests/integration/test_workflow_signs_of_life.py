"""Agents that fall silent: their calls fail soon, and by the name of what was missed."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.status import from_status
from brikk_shared.structs import to_struct
from brikk_workflow.clients.agents import AgentCaller
from brikk_workflow.clients.work import Outcome, Refused
from brikk_workflow.domain.failure import Failure
from support.calling import outcome_of, work
from support.mortal_agent import Mortal, mortal_agent
from support.plain_agents import plain_agent
from support.scripted_discovery import candidate
from support.workers import Worker, call, text_of, worker_and_caller
from support.workflows import State, World

SOON = timedelta(milliseconds=50)
FLOW = """
name: flow
steps:
  - id: only
    call: {capability: hold}
    timeout: {heartbeat: 100ms}
    retry: {max_attempts: 2, initial: 1ms, jitter: 0}
"""
CONNECTING = 5.0
"""Seconds that an attempt to connect may take."""


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Worker, AgentCaller]]:
    async with worker_and_caller(tmp_path) as both:
        yield both


@pytest.fixture
def worker(both: tuple[Worker, AgentCaller]) -> Worker:
    return both[0]


@pytest.fixture
def caller(both: tuple[Worker, AgentCaller]) -> AgentCaller:
    return both[1]


@pytest.fixture
async def mortal() -> AsyncIterator[Mortal]:
    async with mortal_agent() as mortal:
        yield mortal


def failure_of(outcome: Outcome) -> Failure:
    assert isinstance(outcome, Refused), outcome
    return outcome.failure


async def test_a_call_without_heartbeats_fails_and_is_cancelled(
    caller: AgentCaller, worker: Worker
) -> None:
    failure = failure_of(await call(caller, worker, "hold", heartbeat=timedelta(seconds=1)))
    assert (failure.code, failure.reason) == ("DEADLINE_EXCEEDED", Reason.STEP_TIMEOUT)
    assert failure.metadata["timeout"] == "heartbeat"
    assert failure.retryable
    await worker.cancelled.wait()


async def test_a_step_whose_agent_gives_no_sign_of_life_is_tried_again_and_fails(
    tmp_path: Path, sqlite_url: str, mortal: Mortal
) -> None:
    async with World(tmp_path, sqlite_url).open() as world, world.service() as client:
        await world.discovery.offer(candidate("m", "hold", endpoint=mortal.endpoint))
        await client.create(FLOW)
        execution = await client.run("flow")
    assert execution.state == State.STATE_FAILED
    [step] = execution.steps
    error = from_status(step.error)
    assert (error.reason, error.metadata["timeout"]) == (Reason.STEP_TIMEOUT, "heartbeat")
    assert [await mortal.next_order() for _ in range(2)] == ["hold", "hold"]


async def test_heartbeats_keep_a_call_alive(caller: AgentCaller, worker: Worker) -> None:
    beating = asyncio.create_task(call(caller, worker, "beat", heartbeat=timedelta(seconds=2)))
    await worker.begun.wait()
    for _ in range(5):
        silent = await call(caller, worker, "hold", heartbeat=timedelta(milliseconds=500))
        assert failure_of(silent).metadata["timeout"] == "heartbeat"
    worker.released.set()
    assert text_of(await beating) == "released"


@pytest.mark.parametrize("beats", [True, False])
async def test_a_handler_in_a_thread_learns_that_nobody_waits(
    caller: AgentCaller, worker: Worker, beats: bool
) -> None:
    held = asyncio.create_task(call(caller, worker, "thread", beats=beats))
    assert await asyncio.to_thread(worker.thread_begun.wait, 30)
    held.cancel()
    assert await asyncio.to_thread(worker.thread_ended.wait, 30)


async def test_where_no_heartbeats_can_come_none_are_missed(
    caller: AgentCaller, worker: Worker
) -> None:
    begun, released = asyncio.Event(), asyncio.Event()

    async def held() -> pb.ExecuteResponse:
        begun.set()
        await released.wait()
        return pb.ExecuteResponse(output=to_struct({"text": "done"}))

    async with plain_agent(held) as endpoint:
        order = work("hold", {}, heartbeat=SOON)
        plain = asyncio.create_task(outcome_of(caller, "agents/plain", endpoint, order))
        await begun.wait()
        silent = await call(caller, worker, "hold", heartbeat=2 * SOON)
        assert failure_of(silent).metadata["timeout"] == "heartbeat"
        released.set()
        assert text_of(await plain) == "done"


async def test_a_call_fails_when_its_agent_is_killed(caller: AgentCaller, mortal: Mortal) -> None:
    held = asyncio.create_task(outcome_of(caller, "agents/m", mortal.endpoint, work("hold", {})))
    assert await mortal.next_order() == "hold"
    mortal.process.kill()
    failure = failure_of(await held)
    assert (failure.code, failure.reason) == ("UNAVAILABLE", Reason.AGENT_UNAVAILABLE)
    again = await outcome_of(caller, "agents/m", mortal.endpoint, work("hold", {}))
    assert failure_of(again).reason == Reason.AGENT_UNAVAILABLE


async def test_a_call_fails_when_its_agent_freezes_and_works_when_it_thaws(
    caller: AgentCaller, mortal: Mortal
) -> None:
    held = asyncio.create_task(outcome_of(caller, "agents/m", mortal.endpoint, work("hold", {})))
    assert await mortal.next_order() == "hold"
    mortal.process.send_signal(signal.SIGSTOP)
    failure = failure_of(await held)
    assert (failure.code, failure.reason) == ("UNAVAILABLE", Reason.AGENT_UNAVAILABLE)
    assert "silent" in failure.message
    mortal.process.send_signal(signal.SIGCONT)
    echo = work("echo", {"text": "back"})
    assert text_of(await outcome_of(caller, "agents/m", mortal.endpoint, echo)) == "back"


async def test_a_call_waits_for_a_connection_only_so_long(caller: AgentCaller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # the kernel accepts, nobody answers
        endpoint = f"127.0.0.1:{deaf.getsockname()[1]}"
        async with asyncio.timeout(3 * CONNECTING):
            failure = failure_of(await outcome_of(caller, "agents/m", endpoint, work("hold", {})))
    assert failure.reason == Reason.AGENT_UNAVAILABLE


async def test_an_idle_session_keeps_neither_side_from_stopping(
    caller: AgentCaller, worker: Worker
) -> None:
    async with asyncio.timeout(10):
        assert text_of(await call(caller, worker, "echo", text="one")) == "one"
        assert await worker.agent.stop()
        await worker.agent.start()
        worker.endpoint = worker.agent.endpoint
        assert text_of(await call(caller, worker, "echo", text="two")) == "two"
        await caller.aclose()
