"""What agents tell of their progress is seen at every replica while they work, and not after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from brikk.workflow.v1 import execution_pb2, execution_service_pb2
from brikk_agent import Agent, Context
from brikk_shared.database import Database
from brikk_shared.testing import ManualClock
from brikk_workflow.domain.attempt_progress import AttemptProgress
from brikk_workflow.runtime.changes import Changes
from brikk_workflow.runtime.progress import INTERVAL, MAX_ATTEMPTS, ProgressBoard
from brikk_workflow.store.progress import get_progress
from support.agents import CallKeys, ScriptedRegistry, connection_to, served
from support.discovery import until
from support.running import running
from support.scripted_discovery import candidate
from support.workflows import State, WorkflowClient, World

FLOW = """
name: flow
steps:
  - {id: only, call: {capability: text.print}}
"""


class Printer:
    """An agent of the SDK that tells how far it is, and waits for the test."""

    def __init__(self, registry: str, keys: CallKeys) -> None:
        self.released = asyncio.Event()
        self.agent = Agent(
            "printer", agent_id="printer", insecure=True, connection=connection_to(registry, keys)
        )
        self.agent.capability("text.print")(self._print)

    async def _print(self, context: Context) -> dict[str, str]:
        context.progress(0.25, "page 1 of 4\0")
        await self.released.wait()
        return {}


@asynccontextmanager
async def printing(world: World, folder: Path) -> AsyncIterator[Printer]:
    """Serves a printer that the world knows of."""
    async with served(ScriptedRegistry()) as registry:
        printer = Printer(registry, CallKeys(folder))
        await printer.agent.start()
        offer = candidate("printer", "text.print", endpoint=printer.agent.endpoint)
        await world.discovery.offer(offer)
        try:
            yield printer
        finally:
            await printer.agent.stop()


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    async with World(tmp_path, database_url).open() as world:
        yield world


async def read(client: WorkflowClient, name: str) -> execution_pb2.StepRun:
    """Reads the only step of an execution."""
    execution = await client.executions.GetExecution(
        execution_service_pb2.GetExecutionRequest(name=name), metadata=client.metadata, timeout=20
    )
    return execution.steps[0]


async def test_watchers_see_how_far_an_agent_is(world: World, tmp_path: Path) -> None:
    async with world.service() as client, printing(world, tmp_path) as printer:
        await client.create(FLOW)
        name = await client.start("flow")
        async for update in client.executions.WatchExecution(
            execution_service_pb2.WatchExecutionRequest(name=name),
            metadata=client.metadata,
            timeout=60,
        ):
            [step] = update.execution.steps
            if step.HasField("attempt_progress") and not printer.released.is_set():
                told = step.attempt_progress
                assert step.state == execution_pb2.StepRun.STATE_RUNNING
                assert (told.fraction, told.message) == (0.25, "page 1 of 4\\x00")
                assert told.HasField("update_time")
                assert (await read(client, name)).attempt_progress == told
                printer.released.set()
        assert update.execution.state == State.STATE_SUCCEEDED
        assert printer.released.is_set()
        assert not step.HasField("attempt_progress")
        assert all("progress" not in entry.type for entry in await client.history(name))


async def test_another_replica_knows_it_too(tmp_path: Path, postgres_url: str) -> None:
    async with (
        World(tmp_path, postgres_url).open() as world,
        world.service() as client,
        printing(world, tmp_path) as printer,
    ):
        await client.create(FLOW)
        name = await client.start("flow")
        async with world.service() as other:

            async def is_seen() -> bool:
                return (await read(other, name)).attempt_progress.fraction == 0.25

            await until(is_seen)
        printer.released.set()
        assert (await client.wait(name)).state == State.STATE_SUCCEEDED


def word(fraction: float, message: str = "") -> AttemptProgress:
    return AttemptProgress(
        fraction=fraction, message=message, time=datetime(2026, 1, 1, tzinfo=UTC)
    )


async def test_the_newest_word_is_written_once_an_interval_and_wiped_off_at_the_end(
    database_url: str,
) -> None:
    clock, changes = ManualClock(), Changes()
    async with Database(database_url, migrations="brikk_workflow.store.migrations") as database:
        board = ProgressBoard(database, changes, clock)

        async def written() -> dict[str, AttemptProgress]:
            async with database.reading() as connection:
                return dict(await get_progress(connection, "e1"))

        async with running(board.run):
            with changes.subscribe("e1") as told:
                board.tell("e1", "a", word(0.1, "x" * 300))
                await told.changed(timedelta(seconds=30))
            assert await written() == {"a": word(0.1, "x" * 200)}
            for number in range(MAX_ATTEMPTS + 10):
                board.tell("e1", f"b{number}", word(0.2))
            board.tell("e1", "a", word(0.9))
            board.end("e1", "b0")
            board.end("e1", "unheard of")
            await clock.sleeping()
            assert (await written())["a"].fraction == 0.1
            clock.advance(INTERVAL)
            await clock.sleeping()
            now = await written()
            assert now["a"].fraction == 0.9
            assert "b0" not in now
            assert len(now) == MAX_ATTEMPTS - 1
            for token in now:
                board.end("e1", token)
            clock.advance(INTERVAL)
            await clock.sleeping()
            assert await written() == {}
