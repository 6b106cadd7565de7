"""The process dies wherever it commits, or its commits are never answered: nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from itertools import product
from pathlib import Path

import grpc
import pytest

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk_shared import faults
from brikk_shared.structs import Json, from_struct
from support.chaos import let_leases_end, prove, receiving
from support.losing_commits import LosingCommits
from support.workflows import AgentError, State, WorkflowProcess, World, echo

WORKFLOW = """
name: fork
steps:
  - id: first
    call: {capability: text.one, input: {n: "${input.n}"}}
  - id: left
    after: [first]
    call: {capability: text.one, input: {n: "${steps.first.output.n}"}}
    retry: {max_attempts: 3, initial: 20ms, jitter: 0}
  - id: right
    after: [first]
    call: {capability: text.shaky, input: {n: "${steps.first.output.n}"}}
    retry: {max_attempts: 3, initial: 20ms, jitter: 0}
  - id: last
    after: [left, right]
    call: {capability: text.one, input: {n: "${steps.right.output.n}"}}
output: "${steps.last.output.n}"
"""
TIMES = (1, 3)
AT_ONCE = 3


class Shaky:
    """Fails the first time it is asked for an execution."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def work(self, request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        self.asked[request.idempotency_key] += 1
        if self.asked[request.idempotency_key] == 1:
            raise AgentError(grpc.StatusCode.UNAVAILABLE)
        return from_struct(request.input)


class Starts:
    """Starts executions, each under a request of its own, and remembers what was asked."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    async def until_death(self, service: WorkflowProcess) -> None:
        """Starts and awaits one execution after another until the process does not answer."""
        try:
            while True:
                self.requests.append(f"r{len(self.requests)}")
                await service.client.wait(await self._start(service, self.requests[-1]))
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE

    async def again(self, service: WorkflowProcess) -> list[str]:
        """Asks for everything once more, as clients do that got no answer; gives the names."""
        return await asyncio.gather(*(self._start(service, each) for each in self.requests))

    async def _start(self, service: WorkflowProcess, request_id: str) -> str:
        return await service.client.start("fork", {"n": 1}, request_id=request_id)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("all_times", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_killed_at_every_point_in_turn(
    tmp_path: Path, database_url: str, all_times: bool
) -> None:
    starts, shaky = Starts(), Shaky()
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(World(tmp_path, database_url).open())
        await stack.enter_async_context(world.agent(text__one=echo(), text__shaky=shaky.work))
        receivers = await stack.enter_async_context(receiving())
        addresses = {
            "webhooks_address": receivers[0].address,
            "monitoring_address": receivers[1].address,
        }
        async with world.process(**addresses) as service:
            await service.client.create(WORKFLOW)
        elsewhere = {"archive.written", "schedule.decided", "schedule.started"}
        points = sorted(faults.POINTS - elsewhere)
        deaths = [f"{point}:{time}" for point, time in product(points, TIMES)]
        if not all_times:
            # Each point once, at one of its times; the other store has it at the other.
            first = 0 if database_url.startswith("sqlite") else 1
            deaths = [deaths[2 * each + (each + first) % 2] for each in range(len(points))]
        for fault in deaths:
            await let_leases_end(database_url)
            async with world.process(fault=fault, **addresses) as service:
                await asyncio.gather(*(starts.until_death(service) for _ in range(AT_ONCE)))
                assert await service.process.process.wait() == -signal.SIGKILL
        await let_leases_end(database_url)
        async with world.process(**addresses) as service:
            names = await starts.again(service)
            for name in names:
                assert (await service.client.wait(name)).state == State.STATE_SUCCEEDED
            await prove(database_url, names, *receivers)


@pytest.mark.timeout(300)
async def test_commits_that_nobody_answers_are_neither_lost_nor_done_twice(
    tmp_path: Path, postgres_url: str
) -> None:
    starts, shaky = Starts(), Shaky()
    async with AsyncExitStack() as stack:
        proxy = LosingCommits(postgres_url)
        url = await stack.enter_async_context(proxy.listening())
        world = await stack.enter_async_context(World(tmp_path, url).open())
        await stack.enter_async_context(world.agent(text__one=echo(), text__shaky=shaky.work))
        receivers = await stack.enter_async_context(receiving())
        addresses = {
            "webhooks_address": receivers[0].address,
            "monitoring_address": receivers[1].address,
        }
        async with world.process(**addresses) as service:
            await service.client.create(WORKFLOW)
            # It lives on, and finds out by itself what became of its commits.
            starts.requests = [f"lost{number}" for number in range(30)]
            proxy.lose(every=1)
            starting = asyncio.gather(*(started(service, each) for each in starts.requests))
            await proxy.lost(3)
            proxy.lose(every=5)
            await starting
            await proxy.lost(8)
            proxy.lose(every=0)
            names = await starts.again(service)
            for name in names:
                assert (await service.client.wait(name)).state == State.STATE_SUCCEEDED
            # It dies of it as well.
            proxy.lose(every=4)
            dying = asyncio.gather(*(starts.until_death(service) for _ in range(AT_ONCE)))
            await proxy.lost(proxy.losses + 1)
            await service.process.kill()
            await dying
        proxy.lose(every=0)
        await let_leases_end(postgres_url)
        async with world.process(**addresses) as service:
            names = await starts.again(service)
            for name in names:
                assert (await service.client.wait(name)).state == State.STATE_SUCCEEDED
            await prove(postgres_url, names, *receivers)


async def started(service: WorkflowProcess, request_id: str) -> None:
    """Starts an execution as a client does that tries again where it may."""
    while True:
        try:
            await service.client.start("fork", {"n": 1}, request_id=request_id)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE
        else:
            return
