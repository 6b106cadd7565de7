"""Replicas that end, and those that go on: nothing is taken back, nothing is left lying."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from sqlalchemy import text

from support.directories import Setting
from support.replicas import LEASE, SECOND, Agents, Member
from support.scripted_discovery import candidate
from support.stage import Stage

HOUR = timedelta(hours=1)
WORKFLOW = """
name: pair
timeout: 1h
steps:
  - id: first
    call: {capability: t.always}
    retry: {max_attempts: 2, initial: 2s, jitter: 0}
  - {id: second, call: {capability: t.later}, timeout: {schedule_to_start: 30m}}
"""


class Scene:
    """A store with a workflow, and replicas that come and go."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.agents = Agents()
        self.setting = Setting()
        self.members: list[Member] = []

    def member(self, *, ahead: timedelta = timedelta(0)) -> Member:
        """A replica on a machine whose clock is wrong by so much."""
        store = self.stage.store
        member = Member(store, self.agents, self.setting, now=store.now + ahead)
        self.members.append(member)
        return member

    async def crash(self, member: Member) -> None:
        self.members.remove(member)
        await member.crash()

    async def start(self, member: Member) -> str:
        record = await member.replica.start(self.stage.order("pair"))
        assert record is not None
        return record.execution_id

    async def rows(self) -> list[tuple[str, str | None, str]]:
        """The executions: id, owner and status."""
        query = text("SELECT execution_id, owner, status FROM execution ORDER BY execution_id")
        async with self.stage.store.reading() as connection:
            return [(row[0], row[1], row[2]) for row in await connection.execute(query)]

    async def until_backing_off(self) -> None:
        """Waits for a step to fail, while no time passes."""
        query = text("SELECT 1 FROM history WHERE type = 'step.attempt_failed'")
        async with asyncio.timeout(30):
            found = None
            while found is None:
                async with self.stage.store.reading() as connection:
                    found = (await connection.execute(query)).first()

    async def owner(self, execution_id: str) -> str | None:
        return next(owner for each, owner, _ in await self.rows() if each == execution_id)

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Lets time pass until it is so."""
        async with asyncio.timeout(30):
            while not await condition():
                await self.seconds(1)

    async def seconds(self, count: int) -> None:
        """Lets so much time pass, with what the store has to do in it."""
        for _ in range(count):
            await self.stage.store.advance(SECOND)
            for member in self.members:
                member.catch_up()
            await self.rows()

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

    async def until_all_are(self, status: str) -> None:
        async def they_are() -> bool:
            return {each for _, _, each in await self.rows()} == {status}

        await self.until(they_are)

    async def until_out_of_memory(self) -> None:
        async def it_is() -> bool:
            return {owner for _, owner, _ in await self.rows()} == {None}

        await self.until(it_is)


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        scene = Scene(await Stage.set_up(stack, database_url, WORKFLOW))
        await scene.setting.discovery.offer(candidate("a", "t.always"))
        try:
            yield scene
        finally:
            for member in scene.members:
                await member.crash()


async def test_one_that_ends_never_takes_anything_back(scene: Scene) -> None:
    leaving = scene.member()
    await scene.begin(leaving)
    await scene.until_called(1)
    leaving.drain()
    due = await scene.start(leaving)
    await scene.seconds(5)
    assert await scene.owner(due) is None
    # Not even when it has to take its lease anew.
    await scene.stage.lapse(leaving.name)
    await scene.seconds(LEASE // SECOND)
    assert await scene.owner(due) is None
    staying = scene.member()

    async def taken() -> bool:
        return await scene.owner(due) == staying.name

    await scene.until(taken)


async def test_what_waits_is_neither_forgotten_nor_polled_for_in_memory(scene: Scene) -> None:
    one = scene.member()
    await scene.begin(one)
    await scene.until_called(1)
    scene.agents.pending[0].answer()
    await scene.until_out_of_memory()
    # Whoever comes finds it by its row, though nobody tells of the agent.
    await scene.crash(one)
    await scene.setting.discovery.offer(candidate("b", "t.later"))
    scene.member()
    await scene.until_called(1)
    scene.agents.pending[0].answer()
    await scene.until_all_are("succeeded")


async def test_a_timer_that_passed_while_nobody_lived_is_not_lost(scene: Scene) -> None:
    one = scene.member()
    await scene.begin(one)
    await scene.until_called(1)
    scene.agents.pending[0].answer()
    await scene.until_out_of_memory()
    await scene.crash(one)
    await scene.stage.store.advance(2 * HOUR)
    scene.member()
    await scene.until_all_are("failed")


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_nobody_waits_longer_because_a_clock_is_wrong(scene: Scene, ahead: timedelta) -> None:
    await scene.setting.discovery.offer(candidate("b", "t.later"))
    wrong = scene.member(ahead=ahead)
    await scene.begin(wrong)
    await scene.until_called(1)
    # Nor because somebody sets it.
    wrong.clock.jump(ahead)
    scene.agents.pending[0].fail()
    await scene.until_backing_off()
    await scene.crash(wrong)
    await scene.stage.lapse(wrong.name)
    begin = scene.stage.store.now
    scene.member(ahead=-ahead)
    for _ in ("first", "second"):
        await scene.until_called(1)
        scene.agents.pending[0].answer()
    await scene.until_all_are("succeeded")
    # Seconds, but for those that pass while the store works.
    assert scene.stage.store.now - begin < LEASE
