"""Limits of workflows and organisations: who finds no place waits for one, and none is exceeded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.workflow.v1 import execution_pb2, execution_service_pb2
from brikk_shared.structs import Json, from_struct, to_struct
from support.workflows import State, WorkflowClient, World

LIMITED = """
name: limited
concurrency: 2
steps:
  - id: work
    call: {capability: text.work, input: {n: "${input.n}"}}
"""
FREE = LIMITED.replace("name: limited", "name: free").replace("concurrency: 2", "")


class Desk:
    """Work that ends when the test says so, and knows how much of it there ever was at once."""

    def __init__(self) -> None:
        self.most = 0
        self.order: list[float] = []
        self._busy = 0
        self._steps = asyncio.Semaphore(0)
        self._begun = asyncio.Condition()

    def serve(self, count: int = 1) -> None:
        """Lets so many end."""
        for _ in range(count):
            self._steps.release()

    async def until_begun(self, count: int) -> None:
        """Waits until so many have begun since the test did."""
        async with self._begun:
            await self._begun.wait_for(lambda: len(self.order) >= count)

    async def work(self, request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        self._busy += 1
        self.most = max(self.most, self._busy)
        n = from_struct(request.input)["n"]
        assert isinstance(n, float)
        async with self._begun:
            self.order.append(n)
            self._begun.notify_all()
        try:
            await self._steps.acquire()
        finally:
            self._busy -= 1
        return {}


async def start(
    client: WorkflowClient, n: int, *, workflow: str = "limited", priority: int | None = None
) -> str:
    request = execution_service_pb2.StartExecutionRequest(
        workflow=f"workflows/{workflow}", input=to_struct({"n": n}), priority=priority
    )
    execution = await client.executions.StartExecution(
        request, metadata=client.metadata, timeout=20
    )
    return execution.name


async def get(client: WorkflowClient, name: str) -> execution_pb2.WorkflowExecution:
    return await client.executions.GetExecution(
        execution_service_pb2.GetExecutionRequest(name=name), metadata=client.metadata, timeout=20
    )


async def all_succeed(client: WorkflowClient, names: list[str]) -> None:
    for ended in await asyncio.gather(*(client.wait(each, seconds=60) for each in names)):
        assert ended.state == State.STATE_SUCCEEDED, ended


async def test_no_more_run_than_the_workflow_allows(world: World) -> None:
    desk = Desk()
    async with world.agent(text__work=desk.work), world.service() as client:
        await client.create(LIMITED)
        names = [await start(client, n) for n in range(6)]
        await desk.until_begun(2)
        assert (await get(client, names[5])).state == State.STATE_QUEUED
        desk.serve(6)
        await all_succeed(client, names)
        assert desk.most == 2
        kinds = [entry.type for entry in await client.history(names[5])]
        assert kinds.index("execution.queued") < kinds.index("execution.admitted")


async def test_the_highest_priority_is_next_then_the_oldest(world: World) -> None:
    desk = Desk()
    async with world.agent(text__work=desk.work), world.service() as client:
        await client.create(LIMITED.replace("2", "1"))
        names = [await start(client, 0)]
        await desk.until_begun(1)
        for n, priority in ((1, 0), (2, None), (3, 9), (4, 9), (5, 5)):
            names.append(await start(client, n, priority=priority))
        desk.serve(6)
        await all_succeed(client, names)
        assert desk.order == [0, 3, 4, 2, 5, 1]


async def test_no_more_run_than_an_organization_may(world: World) -> None:
    desk = Desk()
    async with world.agent(text__work=desk.work), world.service(max_running=3) as client:
        await client.create(FREE)
        names = [await start(client, n, workflow="free") for n in range(8)]
        await desk.until_begun(3)
        assert (await get(client, names[7])).state == State.STATE_QUEUED
        desk.serve(8)
        await all_succeed(client, names)
        assert desk.most == 3


async def test_one_that_waits_can_be_cancelled_and_leaves_its_turn(world: World) -> None:
    desk = Desk()
    async with world.agent(text__work=desk.work), world.service() as client:
        await client.create(LIMITED.replace("2", "1"))
        first, second, third = [await start(client, n) for n in range(3)]
        await desk.until_begun(1)
        await client.cancel(second)
        assert (await client.wait(second)).state == State.STATE_CANCELLED
        desk.serve(2)
        await all_succeed(client, [first, third])
        assert desk.order == [0, 2]


async def test_one_organization_that_waits_keeps_no_other_waiting(
    tmp_path: Path, world: World
) -> None:
    desk = Desk()
    async with (
        world.agent(text__work=desk.work),
        world.service(max_owned=2) as crowd,
        WorkflowClient(crowd.address, world.tokens, "beta") as lone,
    ):
        for client in (crowd, lone):
            await client.create(LIMITED.replace("2", "50"))
        names = [await start(crowd, n) for n in range(20)]
        await desk.until_begun(2)
        single = await start(lone, 99)
        desk.serve(2)
        await desk.until_begun(4)
        assert 99 in desk.order[2:4]
        desk.serve(19)
        await all_succeed(crowd, names)
        await all_succeed(lone, [single])


@pytest.mark.parametrize("limit", ["workflow", "organization"])
async def test_replicas_together_exceed_no_limit(
    tmp_path: Path, postgres_url: str, limit: str
) -> None:
    desk = Desk()
    most = 2 if limit == "workflow" else 3
    async with (
        World(tmp_path, postgres_url).open() as world,
        world.agent(text__work=desk.work),
        world.service(max_running=3) as one,
        world.service(max_running=3) as two,
    ):
        await one.create(LIMITED if limit == "workflow" else FREE)
        workflow = "limited" if limit == "workflow" else "free"
        names = await asyncio.gather(
            *(start((one, two)[n % 2], n, workflow=workflow) for n in range(20))
        )
        await desk.until_begun(most)
        desk.serve(20)
        await all_succeed(one, names)
        assert desk.most == most


async def test_the_places_of_a_killed_replica_come_back(tmp_path: Path, postgres_url: str) -> None:
    desk = Desk()
    async with (
        World(tmp_path, postgres_url).open() as world,
        world.agent(text__work=desk.work),
        world.process(replica_lease="1s") as doomed,
    ):
        await doomed.client.create(LIMITED)
        names = [await start(doomed.client, n) for n in range(5)]
        await desk.until_begun(2)
        async with world.service(replica_lease="1s") as survivor:
            await doomed.process.kill()
            await desk.until_begun(4)
            assert sorted(desk.order[2:4]) == sorted(desk.order[:2]), "their places are kept"
            desk.serve(7)
            await all_succeed(survivor, names)
