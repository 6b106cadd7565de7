"""Executions out of memory become due when an agent is there: the oldest first, not too many."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import insert, select, update

from brikk_shared.database import Database
from brikk_workflow.runtime.rousing import PACE, Rousing
from brikk_workflow.store import waits
from brikk_workflow.store.tables import AGENT_WAIT, EXECUTION
from support.directories import Setting
from support.running import running
from support.scripted_discovery import candidate

INTERVAL = timedelta(seconds=5)
LATER = datetime(2100, 1, 1, tzinfo=UTC)


class Dormitory(Setting):
    """Rousing under test; `nudges` counts how often it told that something is due."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.rousing = Rousing(self.directory, database, interval=INTERVAL, clock=self.clock)
        self.watch.subscribe(self.rousing.offered)
        self.nudges = 0
        self.rousing.subscribe(self._nudge)
        self._numbers = count()

    def _nudge(self) -> None:
        self.nudges += 1

    async def sleep(self, capability: str, number: int = 1, *, organization: str = "acme") -> None:
        """Stores executions that wait, and tells nobody."""
        async with self.database.transaction() as connection:
            for _ in range(number):
                execution_id = f"e{next(self._numbers):03}"
                await connection.execute(
                    insert(EXECUTION).values(
                        execution_id=execution_id,
                        organization=organization,
                        workflow_id="w",
                        version=1,
                        status="running",
                        requested_transition="",
                        seq=1,
                        epoch=1,
                        wake_at=LATER,
                        inbox_seq=0,
                        inbox_folded=0,
                        snapshot={},
                        input={},
                        labels={},
                        traceparent="",
                        create_time=LATER,
                    )
                )
                row = {
                    "organization": organization,
                    "capability": capability,
                    "execution_id": execution_id,
                }
                await waits.enter(connection, [row])

    async def due(self) -> Sequence[str]:
        """The executions that were roused."""
        async with self.database.reading() as connection:
            query = select(EXECUTION.c.execution_id).where(EXECUTION.c.wake_at < LATER)
            return sorted((await connection.execute(query)).scalars())

    async def claim(self, execution_ids: Sequence[str]) -> None:
        """Takes them into memory, somewhere."""
        async with self.database.transaction() as connection:
            await connection.execute(
                update(EXECUTION)
                .where(EXECUTION.c.execution_id.in_(execution_ids))
                .values(owner="replica/one", wake_at=LATER)
            )
            await waits.forget(connection, execution_ids)

    async def look(self) -> None:
        """Lets an interval pass while it looks."""
        nudges = self.nudges
        await self.clock.sleeping()
        self.clock.advance(INTERVAL)
        await self.until(lambda: self.nudges > nudges)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with running(self.rousing.run), running(self.rousing.look):
            yield


@pytest.fixture
async def dormitory(database_url: str) -> AsyncIterator[Dormitory]:
    async with Database(database_url, migrations="brikk_workflow.store.migrations") as database:
        yield Dormitory(database)


async def test_an_agent_rouses_all_who_wait_for_it(dormitory: Dormitory) -> None:
    await dormitory.sleep("t", 3)
    await dormitory.sleep("u")
    await dormitory.sleep("t", organization="other")
    dormitory.rousing.left("acme", ["t"])
    dormitory.rousing.left("acme", ["u"])
    await dormitory.offer({"t": ["a"]})
    async with dormitory.open():
        await dormitory.directory.learn("acme", ["t"])
        dormitory.rousing.offered("acme", "t")
        await dormitory.until(lambda: dormitory.nudges == 1)
        assert await dormitory.due() == ["e000", "e001", "e002"]


async def test_nobody_tells_and_they_are_found(dormitory: Dormitory) -> None:
    """What another process left behind, or what waited before this one began."""
    await dormitory.sleep("t", 2)
    await dormitory.offer({"t": ["a"]})
    async with dormitory.open():
        await dormitory.look()
        assert await dormitory.due() == ["e000", "e001"]
    assert dormitory.discovery.asked == [("acme", "t")]


async def test_an_agent_that_came_up_while_one_left_memory_is_not_missed(
    dormitory: Dormitory,
) -> None:
    await dormitory.offer({"t": ["a"]})
    await dormitory.directory.learn("acme", ["t"])
    # Told before anybody waits in the store.
    dormitory.rousing.offered("acme", "t")
    await dormitory.sleep("t")
    async with dormitory.open():
        dormitory.rousing.left("acme", ["t"])
        await dormitory.until(lambda: dormitory.nudges == 1)
        assert await dormitory.due() == ["e000"]


async def test_no_more_are_due_at_once_than_the_agents_take(dormitory: Dormitory) -> None:
    await dormitory.sleep("t", 6)
    await dormitory.discovery.offer(candidate("a", capacity=3, in_flight=1))
    async with dormitory.open():
        await dormitory.look()
        assert await dormitory.due() == ["e000", "e001"]
        # Nobody claims them: the others go on sleeping.
        nudges = dormitory.nudges
        dormitory.clock.advance(PACE)
        await dormitory.until(lambda: dormitory.nudges > nudges)
        assert await dormitory.due() == ["e000", "e001"]
        await dormitory.claim(["e000", "e001"])
        await dormitory.clock.sleeping(2)
        nudges = dormitory.nudges
        dormitory.clock.advance(PACE)
        await dormitory.until(lambda: dormitory.nudges > nudges)
        assert await dormitory.due() == ["e002", "e003"]


async def test_an_agent_that_is_full_is_tried_all_the_same(dormitory: Dormitory) -> None:
    """What it said of itself may be long past."""
    await dormitory.sleep("t", 2)
    await dormitory.discovery.offer(candidate("a", capacity=1, in_flight=9))
    async with dormitory.open():
        await dormitory.look()
        assert await dormitory.due() == ["e000"]


async def test_changes_that_nobody_waits_for_ask_the_store_nothing(dormitory: Dormitory) -> None:
    await dormitory.offer({"t": ["a"]})
    await dormitory.directory.learn("acme", ["t"])
    async with dormitory.open():
        dormitory.rousing.offered("acme", "t")
        await dormitory.clock.sleeping()
        assert dormitory.nudges == 0


async def test_the_waits_of_one_execution_are_forgotten_together(dormitory: Dormitory) -> None:
    await dormitory.sleep("t")
    async with dormitory.database.transaction() as connection:
        row = {"organization": "acme", "capability": "u", "execution_id": "e000"}
        await waits.enter(connection, [row, row])
        await waits.enter(connection, [row])
        assert set(await waits.awaited(connection)) == {("acme", "t"), ("acme", "u")}
        await waits.forget(connection, ["e000"])
        assert (await connection.execute(select(AGENT_WAIT))).all() == []
