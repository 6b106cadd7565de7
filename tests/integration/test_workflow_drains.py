"""Replicas that end, and those that go on: nothing is taken back, nothing is left lying."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from brikk_shared.database import Database
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.record import VersionRecord, WorkflowRecord
from brikk_workflow.domain.source import read_yaml
from brikk_workflow.runtime.starts import Start
from brikk_workflow.store.workflows import add_version
from support.directories import Setting
from support.replicas import LEASE, SECOND, Agents, Member
from support.scripted_discovery import candidate

WORKFLOW = """
name: pair
timeout: 1h
steps:
  - {id: first, call: {capability: t.always}}
  - {id: second, call: {capability: t.later}, timeout: {schedule_to_start: 30m}}
"""


class Stage:
    """A store with a workflow, and replicas that come and go."""

    def __init__(self, store: Database, url: str, workflow: CompiledWorkflow) -> None:
        self.store = store
        self.url = url
        self.workflow = workflow
        self.agents = Agents()
        self.setting = Setting()
        self.members: list[Member] = []

    def member(self) -> Member:
        member = Member(self.store, self.url, self.agents, self.setting)
        self.members.append(member)
        return member

    async def start(self, member: Member) -> str:
        order = Start(
            organization="acme",
            workflow=self.workflow,
            newest=False,
            input={},
            labels={},
            priority=5,
            request_id="",
            traceparent="",
        )
        record = await member.replica.start(order)
        assert record is not None
        return record.execution_id

    async def rows(self) -> list[tuple[str, str | None, str]]:
        """The executions: id, owner and status."""
        query = text("SELECT execution_id, owner, status FROM execution ORDER BY execution_id")
        async with self.store.reading() as connection:
            return [(row[0], row[1], row[2]) for row in await connection.execute(query)]

    async def owner(self, execution_id: str) -> str | None:
        return next(owner for each, owner, _ in await self.rows() if each == execution_id)

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Lets time pass for those that did not crash until it is so."""
        async with asyncio.timeout(30):
            while not await condition():
                await self.seconds(1)

    def advance(self) -> None:
        for member in self.members:
            member.clock.advance(SECOND)

    async def seconds(self, count: int) -> None:
        """Lets so much time pass, with what the store has to do in it."""
        for _ in range(count):
            await self.rows()
            self.advance()

    async def begin(self, member: Member) -> None:
        """Starts an execution that a replica holds, live at the latest then."""
        execution_id = await self.start(member)

        async def held() -> bool:
            return await self.owner(execution_id) == member.name

        await self.until(held)

    async def until_called(self, count: int) -> None:
        async def called() -> bool:
            return len(self.agents.pending) == count

        await self.until(called)


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with Database(database_url, migrations="brikk_workflow.store.migrations") as store:
        workflow = read_yaml(WORKFLOW)
        assert isinstance(workflow, CompiledWorkflow)
        now = datetime.now(UTC)
        version = VersionRecord(version=1, definition=workflow.definition, create_time=now)
        record = WorkflowRecord(workflow_id="pair", latest=version, create_time=now)
        async with store.transaction() as connection:
            await add_version(connection, "acme", record, request_id="")
        stage = Stage(store, database_url, replace(workflow, version=1))
        await stage.setting.discovery.offer(candidate("a", "t.always"))
        try:
            yield stage
        finally:
            for member in stage.members:
                await member.crash()


async def test_one_that_ends_never_takes_anything_back(stage: Stage) -> None:
    leaving = stage.member()
    await stage.begin(leaving)
    await stage.until_called(1)
    leaving.drain()
    due = await stage.start(leaving)
    await stage.seconds(5)
    assert await stage.owner(due) is None
    # Not even when it has to take its lease anew.
    async with stage.store.transaction() as connection:
        await connection.execute(
            text("UPDATE lease SET expires_at = 0 WHERE name = :name"), {"name": leaving.name}
        )
    await stage.seconds(LEASE // SECOND)
    assert await stage.owner(due) is None
    staying = stage.member()

    async def taken() -> bool:
        return await stage.owner(due) == staying.name

    await stage.until(taken)


async def test_what_waits_is_neither_forgotten_nor_polled_for_in_memory(stage: Stage) -> None:
    one = stage.member()
    await stage.begin(one)
    await stage.until_called(1)
    stage.agents.pending[0].answer()

    async def out_of_memory() -> bool:
        return [owner for _, owner, _ in await stage.rows()] == [None]

    await stage.until(out_of_memory)
    # Whoever comes finds it by its row, though nobody tells of the agent.
    await one.crash()
    stage.members.remove(one)
    await stage.setting.discovery.offer(candidate("b", "t.later"))
    stage.member()
    await stage.until_called(1)
    stage.agents.pending[0].answer()

    async def ended() -> bool:
        return [status for _, _, status in await stage.rows()] == ["succeeded"]

    await stage.until(ended)


async def test_a_timer_that_passed_while_nobody_lived_is_not_lost(stage: Stage) -> None:
    one = stage.member()
    await stage.begin(one)
    await stage.until_called(1)
    stage.agents.pending[0].answer()

    async def out_of_memory() -> bool:
        return [owner for _, owner, _ in await stage.rows()] == [None]

    await stage.until(out_of_memory)
    await one.crash()
    stage.members.remove(one)
    async with stage.store.transaction() as connection:
        await connection.execute(text("UPDATE execution SET wake_at = 1"))
    other = stage.member()
    other.clock.jump(SECOND * 3600 * 2)

    async def ended() -> bool:
        return [status for _, _, status in await stage.rows()] == ["failed"]

    await stage.until(ended)
