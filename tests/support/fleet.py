"""Replicas of the workflow service as processes, and a client that asks whichever is there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

import grpc

from brikk.workflow.v1 import execution_pb2
from brikk_shared.ids import new_id
from support.behind import run
from support.discovery import until
from support.workflows import State, WorkflowClient, WorkflowProcess, World

T = TypeVar("T")

PATIENCE_S = 90
PAUSE_S = 0.05
# A server that ends breaks off calls that reached it and that it has not looked at.
_GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class Fleet:
    """Replicas on one database; `live` are those that the client knows of."""

    def __init__(self, world: World, stack: AsyncExitStack, settings: dict[str, object]) -> None:
        self._world = world
        self._stack = stack
        self._settings = settings
        self._turn = 0
        self.live: list[WorkflowProcess] = []

    async def add(self) -> WorkflowProcess:
        """Starts another replica."""
        process = self._world.process(**self._settings)
        replica = await self._stack.enter_async_context(process)
        self.live.append(replica)
        return replica

    async def end(self, replica: WorkflowProcess) -> None:
        """Ends a replica in good order; the client finds out by asking it."""
        assert await replica.process.terminate() == 0
        self.live.remove(replica)

    async def kill(self, replica: WorkflowProcess) -> None:
        """Ends a replica as a power cut would; the client finds out by asking it."""
        await replica.process.kill()
        self.live.remove(replica)

    async def ask(self, call: Callable[[WorkflowClient], Awaitable[T]]) -> T:
        """Calls one replica after another until one is available, as a client may and should."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self._turn += 1
                replica = self.live[self._turn % len(self.live)]
                try:
                    return await call(replica.client)
                except grpc.aio.AioRpcError as error:
                    if error.code() not in _GONE:
                        raise
                await asyncio.sleep(PAUSE_S)  # as clients do, who would be in the way otherwise

    async def wait(self, name: str) -> execution_pb2.WorkflowExecution:
        """Waits at any replica for the end of an execution."""
        return await self.ask(partial(WorkflowClient.wait, name=name, seconds=60))

    @asynccontextmanager
    async def load(self, workflow: str, *, at_once: int = 6) -> AsyncIterator[Load]:
        """Runs executions all the time while the block runs; what was begun has ended then."""
        load = Load(self, workflow)
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(load.run())
            try:
                yield load
            finally:
                load.enough = True


class Load:
    """Starts executions and awaits their ends, each at any replica; all have to succeed."""

    def __init__(self, fleet: Fleet, workflow: str) -> None:
        self._fleet = fleet
        self._workflow = workflow
        self._done = asyncio.Condition()
        self.enough = False
        self.names: list[str] = []

    async def run(self) -> None:
        """Runs one after another."""
        while not self.enough:
            # The same request however often it is repeated: one execution.
            start = partial(
                WorkflowClient.start,
                workflow=self._workflow,
                given={"n": 1},
                request_id=new_id(),
            )
            name = await self._fleet.ask(start)
            execution = await self._fleet.wait(name)
            assert execution.state == State.STATE_SUCCEEDED, execution
            async with self._done:
                self.names.append(name)
                self._done.notify_all()

    async def until(self, moment: float) -> None:
        """Goes on until a time by `time.monotonic`, and at least until one more has ended."""
        await self.more(1)
        while time.monotonic() < moment:
            await self.more(1)

    async def more(self, count: int) -> None:
        """Waits until so many more have ended."""
        goal = len(self.names) + count
        async with self._done, asyncio.timeout(PATIENCE_S):
            await self._done.wait_for(lambda: len(self.names) >= goal)


@asynccontextmanager
async def fleet(world: World, count: int = 3, **settings: object) -> AsyncIterator[Fleet]:
    """Runs replicas; all are dead at the end."""
    async with AsyncExitStack() as stack:
        replicas = Fleet(world, stack, dict(settings))
        await asyncio.gather(*(replicas.add() for _ in range(count)))
        yield replicas


async def owners(database_url: str) -> dict[str, tuple[str | None, int]]:
    """Who holds each open execution, and at which epoch."""
    rows = await run(
        database_url, "SELECT execution_id, owner, epoch FROM execution WHERE end_time IS NULL"
    )
    return {f"executions/{each}": (owner, epoch) for each, owner, epoch in rows}


def name_of(replica: WorkflowProcess) -> str:
    """What the store knows a replica by."""
    entries = (json.loads(line) for line in replica.process.log if "replica is live" in line)
    return str(next(entries)["replica"])


async def held_by(database_url: str, replica: WorkflowProcess) -> dict[str, int]:
    """The open executions that a replica holds, with the epochs at which it does."""
    name, held = name_of(replica), await owners(database_url)
    return {each: epoch for each, (owner, epoch) in held.items() if owner == name}


async def taken_over(database_url: str, before: Mapping[str, int]) -> None:
    """Waits until each of these executions was claimed since, or has ended."""

    async def all_were() -> bool:
        now = await owners(database_url)
        return all(now[each][1] > before[each] for each in now.keys() & before.keys())

    await until(all_were)
