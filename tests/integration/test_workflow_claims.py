"""Claims: who may take what, how much of it, and what happens when everything is due at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select, update

from brikk_shared.database import Database
from brikk_shared.tables import LEASE
from brikk_workflow.store.ownership import (
    Leaving,
    claim,
    leave,
    longest_due,
    owned,
    release,
    retake,
)
from brikk_workflow.store.tables import AGENT_WAIT, EXECUTION
from brikk_workflow.store.turns import Turns

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)
ME = "replica/me"
LIVE = "replica/live"
DEAD = "replica/dead"
SECOND = timedelta(seconds=1)


class Store:
    """A store with executions of which only those columns matter by which they are claimed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.orphaned: Sequence[str] = ()

    async def add(
        self, *execution_ids: str, owner: str | None = None, wake_at: datetime = PAST
    ) -> None:
        common = {
            "organization": "acme",
            "workflow_id": "w",
            "version": 1,
            "status": "running",
            "requested_transition": "",
            "seq": 1,
            "epoch": 1,
            "inbox_seq": 0,
            "inbox_folded": 0,
            "snapshot": {},
            "input": {},
            "labels": {},
            "traceparent": "",
            "create_time": PAST,
            "owner": owner,
            "wake_at": wake_at,
        }
        rows = [{"execution_id": each, **common} for each in execution_ids]
        async with self.database.transaction() as connection:
            await connection.execute(insert(EXECUTION), rows)

    async def lease(self, name: str, expires_at: datetime) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(
                insert(LEASE).values(name=name, owner="x", epoch=1, expires_at=expires_at)
            )

    async def claim(
        self, limit: int = 100, *, replica: str = ME, ahead: timedelta = timedelta(0)
    ) -> list[str]:
        async with self.database.transaction() as connection:
            claimed = await claim(
                connection, self.database, replica, Turns(), limit=limit, ahead=ahead
            )
        self.orphaned = claimed.orphaned
        return [*claimed.orphaned, *claimed.due]

    async def leave(self, execution_id: str, **more: object) -> bool:
        given = {
            "organization": "acme",
            "epoch": 1,
            "sequence": 1,
            "wake_at": FUTURE,
            "awaited": (),
            "at_once": False,
            **more,
        }
        leaving = Leaving(execution_id=execution_id, **given)  # type: ignore[arg-type] # any field
        async with self.database.transaction() as connection:
            (left,) = await leave(connection, self.database, [leaving], margin=SECOND)
        return left

    async def change(self, execution_id: str, **values: object) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(
                update(EXECUTION).where(EXECUTION.c.execution_id == execution_id).values(**values)
            )

    async def row(self, execution_id: str) -> tuple[str | None, int, datetime | None]:
        """Its owner, its epoch and when it is due."""
        columns = (EXECUTION.c.owner, EXECUTION.c.epoch, EXECUTION.c.wake_at)
        query = select(*columns).where(EXECUTION.c.execution_id == execution_id)
        async with self.database.reading() as connection:
            row = (await connection.execute(query)).one()
        return row.owner, row.epoch, row.wake_at


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Database(database_url, migrations="brikk_workflow.store.migrations") as database:
        yield Store(database)


async def test_what_is_due_is_taken_and_what_is_not_is_left(store: Store) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)
    await store.add("due")
    await store.add("soon", wake_at=soon)
    await store.add("later", wake_at=FUTURE)
    assert await store.claim() == ["due"]
    assert await store.row("due") == (ME, 2, PAST)
    assert await store.claim() == []
    assert await store.claim(ahead=timedelta(minutes=2)) == ["soon"]


async def test_the_backlog_is_as_old_as_what_waits_longest(store: Store) -> None:
    await store.add("later", wake_at=FUTURE)
    await store.add("held", owner=LIVE, wake_at=PAST)

    async def age() -> timedelta:
        async with store.database.reading() as connection:
            return await longest_due(connection, store.database)

    assert await age() == timedelta(0)
    await store.add("due", wake_at=PAST)
    assert await age() >= datetime.now(UTC) - PAST - SECOND


async def test_only_the_dead_are_robbed(store: Store) -> None:
    await store.lease(LIVE, FUTURE)
    await store.lease(DEAD, PAST)
    await store.add("live", owner=LIVE)
    await store.add("mine", owner=ME)
    await store.add("dead", owner=DEAD, wake_at=FUTURE)
    # Its lease was forgotten long ago.
    await store.add("gone", owner="replica/gone", wake_at=FUTURE)
    await store.add("due")
    assert sorted(await store.claim()) == ["dead", "due", "gone"]
    assert sorted(store.orphaned) == ["dead", "gone"]
    assert await store.row("dead") == (ME, 2, FUTURE)


async def test_what_has_ended_is_nobodys(store: Store) -> None:
    await store.add("a")
    await store.add("b", owner=DEAD)
    for each in ("a", "b"):
        await store.change(each, end_time=PAST)
    assert await store.claim() == []


async def test_a_claim_takes_no_more_than_its_limit(store: Store) -> None:
    await store.add(*(f"due{number}" for number in range(10)))
    await store.add(*(f"orphan{number}" for number in range(10)), owner=DEAD)
    taken = await store.claim(5)
    assert len(taken) == 5
    # Neither keeps the other waiting.
    assert Counter(each.rstrip("0123456789") for each in taken) == {"due": 2, "orphan": 3}
    rest = [each for _ in range(5) for each in await store.claim(5)]
    assert len({*taken, *rest}) == 20


async def test_replicas_that_claim_at_once_share_what_is_due(postgres_url: str) -> None:
    async with Database(postgres_url, migrations="brikk_workflow.store.migrations") as database:
        store = Store(database)
        await store.add(*(f"e{number:03}" for number in range(200)))
        replicas = [f"replica/{number}" for number in range(6)]
        for replica in replicas:
            await store.lease(replica, FUTURE)
        claims = await asyncio.gather(*(store.claim(30, replica=each) for each in replicas))
        taken = [each for claimed in claims for each in claimed]
        assert len(taken) == len(set(taken))
        assert max(map(len, claims)) <= 30


async def test_twenty_thousand_due_at_once_are_taken_batch_by_batch(store: Store) -> None:
    for first in range(0, 20_000, 1000):
        await store.add(*(f"e{number:05}" for number in range(first, first + 1000)))
    taken: set[str] = set()
    while batch := await store.claim(1000):
        assert len(batch) <= 1000
        assert taken.isdisjoint(batch)
        taken.update(batch)
    assert len(taken) == 20_000


async def test_one_that_leaves_keeps_its_wake_up_and_its_epoch(store: Store) -> None:
    await store.add("a", owner=ME)
    assert await store.leave("a", awaited=("t", "u"))
    assert await store.row("a") == (None, 1, FUTURE)
    async with store.database.reading() as connection:
        rows = await connection.execute(select(AGENT_WAIT.c.capability))
        assert set(rows.scalars()) == {"t", "u"}
    # Whoever takes it watches for the agents itself.
    await store.change("a", wake_at=PAST)
    assert await store.claim() == ["a"]
    async with store.database.reading() as connection:
        query = select(func.count()).select_from(AGENT_WAIT)
        assert (await connection.execute(query)).scalar_one() == 0


async def test_one_stays_for_whatever_has_come_for_it(store: Store) -> None:
    await store.add("a", owner=ME)
    assert not await store.leave("a", epoch=0), "it is held by another since"
    assert not await store.leave("a", sequence=0), "it has moved"
    near = datetime.now(UTC) + SECOND / 2
    assert not await store.leave("a", wake_at=near), "by the store's clock it is due"
    await store.change("a", inbox_seq=1)
    assert not await store.leave("a"), "something was asked of it"
    assert await store.row("a") == (ME, 1, PAST)
    async with store.database.reading() as connection:
        query = select(func.count()).select_from(AGENT_WAIT)
        assert (await connection.execute(query)).scalar_one() == 0


async def test_one_that_leaves_at_once_is_due_whatever_has_come(store: Store) -> None:
    await store.add("a", owner=ME, wake_at=FUTURE)
    await store.change("a", inbox_seq=1, seq=2)
    assert await store.leave("a", at_once=True)
    assert await store.claim(replica=LIVE) == ["a"]


async def test_one_that_nothing_wakes_leaves_all_the_same(store: Store) -> None:
    await store.add("a", owner=ME)
    assert await store.leave("a", wake_at=None)
    assert await store.row("a") == (None, 1, None)
    assert await store.claim() == []


async def test_who_rests_is_not_claimed_before_its_time(store: Store) -> None:
    await store.add("a", "b", owner=ME)
    async with store.database.transaction() as connection:
        await release(connection, store.database, ME, ["a"], after=timedelta(hours=1))
        await release(connection, store.database, LIVE)
    assert await store.claim() == []
    async with store.database.transaction() as connection:
        await release(connection, store.database, ME)
    assert await store.claim() == ["b"]


async def test_only_what_is_ours_is_taken_again(store: Store) -> None:
    await store.add("mine", "ended", owner=ME)
    await store.add("other", owner=LIVE)
    await store.change("ended", end_time=PAST)
    async with store.database.transaction() as connection:
        assert await owned(connection, ME) == ["mine"]
        assert await retake(connection, ME, ["mine", "other", "ended", "none"]) == ["mine"]
    assert await store.row("mine") == (ME, 2, PAST)
    assert await store.row("other") == (LIVE, 1, PAST)
