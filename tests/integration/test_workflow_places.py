"""Places are counted under a lock: however many ask at once, no limit is exceeded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from brikk_shared.clock import SystemClock
from brikk_shared.database import Database
from brikk_shared.leases import Leases
from brikk_workflow.domain.admission import rank
from brikk_workflow.store.admission import (
    admit,
    renew_permit,
    return_permit,
    waiting_organizations,
)
from brikk_workflow.store.ownership import claim
from brikk_workflow.store.tables import EXECUTION
from brikk_workflow.store.turns import Turns

MIGRATIONS = "brikk_workflow.store.migrations"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, migrations=MIGRATIONS) as database:
        yield database


async def queue(
    database: Database,
    *numbers: int,
    organization: str = "acme",
    workflow: str = "free",
    concurrency: int | None = None,
    priority: int = 5,
) -> None:
    rows: list[dict[str, object]] = [
        {
            "execution_id": f"{organization}-{number:04}",
            "organization": organization,
            "workflow_id": workflow,
            "version": 1,
            "status": "queued",
            "requested_transition": "",
            "seq": 1,
            "epoch": 1,
            "inbox_seq": 0,
            "inbox_folded": 0,
            "snapshot": {},
            "input": {},
            "labels": {},
            "traceparent": "",
            "create_time": SystemClock().now(),
            "concurrency": concurrency,
            "queue_rank": rank(priority),
        }
        for number in numbers
    ]
    async with database.transaction() as connection:
        await connection.execute(insert(EXECUTION), rows)


async def live(database: Database, *replicas: str) -> None:
    leases = Leases(database, "test", SystemClock())
    for replica in replicas:
        assert await leases.acquire(replica, timedelta(minutes=5))


async def admitted(
    database: Database, replica: str = "replica/a", *, places: int, organization: str = "acme"
) -> list[str]:
    async with database.transaction() as connection:
        taken = await admit(connection, database, organization, replica, places=places)
    return sorted(each.removeprefix(f"{organization}-") for each in taken)


async def permitted(
    database: Database,
    replica: str,
    *,
    wanted: int = 1,
    given: int = 0,
    max_running: int = 10,
) -> int:
    async with database.transaction() as connection:
        return await renew_permit(
            connection,
            database,
            "acme",
            replica,
            given=given,
            wanted=wanted,
            max_running=max_running,
        )


async def end(database: Database, *execution_ids: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            update(EXECUTION)
            .where(EXECUTION.c.execution_id.in_(execution_ids))
            .values(end_time=SystemClock().now(), owner=None)
        )


async def test_priority_then_age_decides_and_an_end_frees_its_place(database: Database) -> None:
    await queue(database, 1, 2, workflow="one", concurrency=1)
    await queue(database, 3, workflow="one", concurrency=1, priority=9)
    assert await admitted(database, places=10) == ["0003"]
    assert await admitted(database, places=10) == []
    await end(database, "acme-0003")
    assert await admitted(database, places=10) == ["0001"]
    async with database.reading() as connection:
        query = select(EXECUTION.c.owner, EXECUTION.c.epoch).where(
            EXECUTION.c.execution_id == "acme-0001"
        )
        assert (await connection.execute(query)).one() == ("replica/a", 2)


async def test_a_workflow_at_its_limit_keeps_no_other_waiting(database: Database) -> None:
    await queue(database, *range(1, 6), workflow="two", concurrency=2, priority=9)
    await queue(database, 7, 8, priority=0)
    assert await admitted(database, places=3) == ["0001", "0002", "0007"]
    assert await admitted(database, places=3) == ["0008"]


async def test_paused_and_held_ones_are_passed_over(database: Database) -> None:
    await queue(database, 1, 2, 3)
    async with database.transaction() as connection:
        for number, values in ((1, {"status": "paused"}), (2, {"owner": "replica/b"})):
            await connection.execute(
                update(EXECUTION)
                .where(EXECUTION.c.execution_id == f"acme-{number:04}")
                .values(**values)
            )
    assert await admitted(database, places=3) == ["0003"]


async def test_those_who_wait_are_found_by_organization(database: Database) -> None:
    await queue(database, 1, 2)
    await queue(database, 1, organization="beta")
    await queue(database, 1, organization="gone")
    await end(database, "gone-0001")
    async with database.reading() as connection:
        assert list(await waiting_organizations(connection)) == ["acme", "beta"]


async def test_many_at_once_never_exceed_a_workflow(database: Database) -> None:
    await queue(database, *range(60), workflow="seven", concurrency=7)
    for _ in range(3):
        taken = await asyncio.gather(
            *(admitted(database, f"replica/{number % 3}", places=4) for number in range(9))
        )
        ids = [each for batch in taken for each in batch]
        assert len(ids) == len(set(ids)) == 7
        await end(database, *(f"acme-{each}" for each in ids))


async def test_permits_and_running_never_exceed_an_organization(database: Database) -> None:
    replicas = ["replica/a", "replica/b", "replica/c"]
    await live(database, *replicas)
    granted: Counter[str] = Counter()
    for replica in replicas * 4:
        granted[replica] = await permitted(database, replica, wanted=3, given=granted[replica])
    assert sum(granted.values()) <= 10
    await queue(database, *range(20))
    await return_all(database, replicas)
    places = await asyncio.gather(*(permitted(database, each, wanted=4) for each in replicas))
    assert sum(places) == 10
    for replica, count in zip(replicas, places, strict=True):
        assert len(await admitted(database, replica, places=count)) == count
    await return_all(database, replicas)
    assert await permitted(database, "replica/a") == 0


async def test_permits_of_a_dead_replica_count_no_more(database: Database) -> None:
    await live(database, "replica/a")
    assert await permitted(database, "replica/dead", wanted=10) == 10
    assert await permitted(database, "replica/a") == 10 // 4


async def test_a_permit_is_a_part_of_what_is_free(database: Database) -> None:
    await live(database, "replica/a", "replica/b")
    assert await permitted(database, "replica/a", max_running=1000) == 250
    assert await permitted(database, "replica/b", max_running=1000) == 187


async def return_all(database: Database, replicas: list[str]) -> None:
    async with database.transaction() as connection:
        for replica in replicas:
            await return_permit(connection, "acme", replica, given=0)


async def due(
    database: Database, organization: str, *numbers: int, minutes: int, priority: int = 5
) -> None:
    """Makes executions that nobody runs, due for so many minutes."""
    await queue(database, *numbers, organization=organization)
    ids = [f"{organization}-{number:04}" for number in numbers]
    async with database.transaction() as connection:
        await connection.execute(
            update(EXECUTION)
            .where(EXECUTION.c.execution_id.in_(ids))
            .values(
                queue_rank=None,
                priority=priority,
                wake_at=SystemClock().now() - timedelta(minutes=minutes),
            )
        )


async def claimed(database: Database, turns: Turns, *, limit: int) -> set[str]:
    async with database.transaction() as connection:
        taken = await claim(connection, database, "replica/a", turns, limit=limit)
    return {*taken.orphaned, *taken.due}


async def test_thousands_that_are_due_starve_nobody_of_another_organization(
    database: Database,
) -> None:
    await due(database, "acme", *range(2000), minutes=60)
    await due(database, "acme", 5000, minutes=1, priority=9)
    await due(database, "beta", 1, minutes=1, priority=0)
    await due(database, "gamma", 1, minutes=-60)
    turns = Turns()
    taken = await claimed(database, turns, limit=6)
    assert {"beta-0001", "acme-5000"} < taken
    assert len(taken) == 6, "the room that others leave is used"
    assert "gamma-0001" not in taken


async def test_where_there_are_more_organizations_than_room_each_has_its_turn(
    database: Database,
) -> None:
    for name in ("a", "b", "c", "d"):
        await due(database, name, *range(10), minutes=ord(name))
    turns = Turns()
    first = await claimed(database, turns, limit=2)
    second = await claimed(database, turns, limit=2)
    assert {each[0] for each in first | second} == {"a", "b", "c", "d"}


async def test_what_fits_in_is_taken_whole(database: Database) -> None:
    await due(database, "acme", 1, 2, minutes=1)
    await due(database, "beta", 1, minutes=1)
    assert len(await claimed(database, Turns(), limit=3)) == 3
    assert await claimed(database, Turns(), limit=3) == set()
