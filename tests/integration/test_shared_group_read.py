"""Grouped look-ups: few queries, and each sees what was committed before it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable
from brikk_shared.group_read import GroupRead

COLUMNS = {"name": "text"}
UNREADABLE = "unreadable"


@dataclass
class Shelf:
    """Numbers by name in a table, and the queries that looked them up.

    Each query tells that it has looked by `looked`; while `open` is clear, it then waits.
    """

    database: Database
    queries: list[Sequence[str]] = field(default_factory=list)
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.group = GroupRead(self.database, self._read)
        self.open.set()

    async def create(self) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(
                text("CREATE TABLE shelf (name TEXT PRIMARY KEY, number BIGINT NOT NULL)")
            )

    async def put(self, name: str, number: int) -> None:
        """Returns once it is committed."""
        async with self.database.transaction() as connection:
            await connection.execute(
                text(
                    "INSERT INTO shelf (name, number) VALUES (:name, :number)"
                    " ON CONFLICT (name) DO UPDATE SET number = excluded.number"
                ),
                {"name": name, "number": number},
            )

    async def clear(self) -> None:
        self.queries.clear()
        async with self.database.transaction() as connection:
            await connection.execute(text("DELETE FROM shelf"))

    def asked(self, *names: str) -> list[asyncio.Task[int | None]]:
        return [asyncio.create_task(self.group.get(name)) for name in names]

    async def under_way(self, name: str) -> asyncio.Task[int | None]:
        """A look-up whose query has looked already, and waits to answer."""
        self.open.clear()
        self.looked.clear()
        (asking,) = self.asked(name)
        await self.looked.wait()
        return asking

    async def _read(self, connection: AsyncConnection, names: Sequence[str]) -> Mapping[str, int]:
        self.queries.append(names)
        if UNREADABLE in names:
            raise LookupError
        dialect = self.database.dialect
        rows = await connection.execute(
            text(
                "SELECT shelf.name, shelf.number"
                f" FROM {batch_source(dialect, COLUMNS)} JOIN shelf ON shelf.name = b.name"
            ),
            batch_params(dialect, COLUMNS, [{"name": name} for name in names]),
        )
        found: dict[str, int] = {row.name: row.number for row in rows}
        self.looked.set()
        await self.open.wait()
        return found


@pytest.fixture
async def shelf(database: Database) -> Shelf:
    shelf = Shelf(database)
    await shelf.create()
    return shelf


async def test_who_asks_at_once_shares_one_query(shelf: Shelf) -> None:
    await shelf.put("a", 1)
    await shelf.put("b", 2)
    answers = await asyncio.gather(*shelf.asked(*["a", "b", "missing"] * 50))
    assert answers == [1, 2, None] * 50
    assert shelf.queries == [["a", "b", "missing"]]


async def test_what_is_asked_meanwhile_is_the_next_query(shelf: Shelf) -> None:
    await shelf.put("a", 1)
    first = await shelf.under_way("a")
    meanwhile = shelf.asked(*["a", "b"] * 50)
    await asyncio.sleep(0)
    shelf.open.set()
    assert await asyncio.gather(first, *meanwhile) == [1, *[1, None] * 50]
    assert shelf.queries == [["a"], ["a", "b"]]


async def test_one_after_another_each_looks_for_itself(shelf: Shelf) -> None:
    for number in range(3):
        await shelf.put("a", number)
        assert await shelf.group.get("a") == number
    assert shelf.queries == [["a"]] * 3


async def test_a_look_up_asked_after_a_commit_sees_it(shelf: Shelf) -> None:
    early = await shelf.under_way("a")
    await shelf.put("a", 1)
    (late,) = shelf.asked("a")
    await asyncio.sleep(0)
    shelf.open.set()
    assert await early is None
    assert await late == 1


async def test_an_error_reaches_everyone_who_asked_and_the_next_look_up_works(
    database: Database,
) -> None:
    shelf = Shelf(database)
    outcomes = await asyncio.gather(*shelf.asked("a", "b", "a"), return_exceptions=True)
    assert all(isinstance(outcome, DBAPIError) for outcome in outcomes), outcomes
    assert shelf.queries == [["a", "b"]]
    await shelf.create()
    await shelf.put("a", 1)
    assert await shelf.group.get("a") == 1


async def test_a_query_that_fails_fails_no_other(shelf: Shelf) -> None:
    await shelf.put("a", 1)
    first = await shelf.under_way("a")
    meanwhile = shelf.asked("a", UNREADABLE)
    await asyncio.sleep(0)
    shelf.open.set()
    assert await first == 1
    for each in meanwhile:
        with pytest.raises(LookupError):
            await each
    assert await shelf.group.get("a") == 1


async def test_a_store_that_goes_away_is_told_to_everyone_who_asked(postgres_url: str) -> None:
    reads: list[int] = []

    async def read(connection: AsyncConnection, keys: Sequence[int]) -> Mapping[int, int]:
        reads.append(len(keys))
        if len(reads) == 1:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return {key: key for key in keys}

    async with Database(postgres_url, migrations=None) as database:
        group = GroupRead(database, read)
        outcomes = await asyncio.gather(*map(group.get, range(8)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        assert await group.get(7) == 7
    assert reads == [8, 1]


async def test_a_caller_that_gives_up_takes_the_answer_from_nobody(shelf: Shelf) -> None:
    await shelf.put("a", 1)
    first = await shelf.under_way("a")
    gives_up, stays = shelf.asked("a", "a")
    await asyncio.sleep(0)
    for task in (first, gives_up):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    shelf.open.set()
    assert await stays == 1
    assert shelf.queries == [["a"], ["a"]]


async def test_when_everyone_gave_up_the_next_look_up_works(shelf: Shelf) -> None:
    first = await shelf.under_way("a")
    (meanwhile,) = shelf.asked("b")
    await asyncio.sleep(0)
    first.cancel()
    meanwhile.cancel()
    await asyncio.wait({first, meanwhile})
    await shelf.put("c", 3)
    shelf.open.set()
    assert await shelf.group.get("c") == 3


PLANS = st.lists(
    st.tuples(
        st.sampled_from(["put", "get", "get", "get", "give up"]),
        st.sampled_from("abc"),
        st.integers(0, 4),  # how long after the one before it, in turns of the loop
    ),
    max_size=25,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(plan=PLANS)
async def test_no_answer_is_older_than_its_question(
    shelf: Shelf, plan: list[tuple[str, str, int]]
) -> None:
    await shelf.clear()
    committed = dict.fromkeys("abc", 0)
    asked: list[tuple[str, int, asyncio.Task[int | None]]] = []
    for number, (verb, name, turns) in enumerate(plan, start=1):
        for _ in range(turns):
            await asyncio.sleep(0)
        if verb == "put":
            await shelf.put(name, number)
            committed[name] = number
            continue
        (task,) = shelf.asked(name)
        asked.append((name, committed[name], task))
        if verb == "give up":
            await asyncio.sleep(0)
            task.cancel()
    answers = await asyncio.gather(*(task for _, _, task in asked), return_exceptions=True)
    await shelf.group.get("a")  # By then nothing is under way, for those who gave up either.
    for (name, known, task), answer in zip(asked, answers, strict=True):
        if not task.cancelled():
            assert not isinstance(answer, BaseException)
            assert known <= (answer or 0) <= committed[name]
    assert all(len(set(names)) == len(names) for names in shelf.queries)
    assert len(shelf.queries) <= len(asked) + 1
