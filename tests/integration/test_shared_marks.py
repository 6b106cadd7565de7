"""Marks: what was taken before has no effect again."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishItem, PublishRequest
from brikk_shared import marks
from brikk_shared.database import Database
from brikk_shared.errors import InvalidArgument, invalid_field
from brikk_shared.tables import DEAD_LETTER
from support.inbox import event


def batch(*positions: int, generation: str = "g", producer: str = "workflow") -> PublishRequest:
    return PublishRequest(
        producer=producer,
        generation=generation,
        items=[PublishItem(position=position, event=event(position)) for position in positions],
    )


async def take(database: Database, request: PublishRequest) -> list[int]:
    async with database.transaction() as connection:
        return [item.position for item in await marks.take(connection, request)]


async def mark(database: Database, request: PublishRequest) -> int:
    async with database.reading() as connection:
        return await marks.read(connection, request)


async def test_what_was_taken_is_not_taken_again(database: Database) -> None:
    assert await mark(database, batch()) == 0
    assert await take(database, batch(1, 2, 3)) == [1, 2, 3]
    assert await take(database, batch(1, 2, 3)) == []
    assert await take(database, batch(2, 3, 4, 5)) == [4, 5]
    assert await mark(database, batch()) == 5


async def test_streams_have_marks_of_their_own(database: Database) -> None:
    assert await take(database, batch(1, 2)) == [1, 2]
    assert await take(database, batch(1, generation="h")) == [1]
    assert await take(database, batch(1, producer="discovery")) == [1]
    assert await mark(database, batch()) == 2


async def test_an_effect_that_is_undone_is_not_marked(database: Database) -> None:
    with pytest.raises(LookupError):
        async with database.transaction() as connection:
            await marks.take(connection, batch(1))
            raise LookupError
    assert await take(database, batch(1)) == [1]


async def test_the_same_batch_many_times_at_once_is_taken_once(database: Database) -> None:
    taken = await asyncio.gather(*(take(database, batch(1, 2)) for _ in range(6)))
    assert sorted(taken) == [[], [], [], [], [], [1, 2]]


async def test_a_gap_is_counted_and_taken(database: Database) -> None:
    registry = CollectorRegistry()
    gaps = marks.gap_counter(registry)
    async with database.transaction() as connection:
        for request in (batch(1, 2), batch(2, 3), batch(7, 8)):
            await marks.take(connection, request, gaps)
    assert registry.get_sample_value("brikk_inbox_gaps_total") == 1
    assert await mark(database, batch()) == 8


@pytest.mark.parametrize("positions", [(0,), (-1,), (2, 2), (2, 1)])
async def test_positions_must_ascend(database: Database, positions: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument, match=r"items\[\d\]\.position"):
        await take(database, batch(*positions))


async def test_what_is_refused_is_kept_with_the_reason(database: Database) -> None:
    request = batch(1)
    async with database.transaction() as connection:
        error = invalid_field("event.subject", "is too long")
        refused = [(item, error) for item in await marks.take(connection, request)]
        await marks.set_aside(connection, request, refused)
    async with database.reading() as connection:
        letter = (await connection.execute(select(DEAD_LETTER))).one()
    assert (letter.producer, letter.generation, letter.position) == ("workflow", "g", 1)
    assert (letter.reason, letter.message) == ("INVALID_FIELD", "event.subject is too long")
    assert Event.FromString(letter.payload) == request.items[0].event
    assert letter.organization == "acme"
