"""How far the shards of an outbox have come, and the batch of each that is under way: a row each.

A subject's shard is a hash of its name, from 1 on. Shard 0 is of the time before there were many,
and its rows go first: while one lies, a subject's later events may lie in another shard.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4
from zlib import crc32

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.tables import OUTBOX_SHARD
from brikk_shared.types import to_json

SHARDS: Final = 16
"""Must never change while rows lie: a subject's events would overtake one another."""

_ALL_IN_ONE: Final = 0

# The contract's limits of a batch. What the envelope adds to an event is less than the allowance.
_MAX_ITEMS = 500
_MAX_BYTES = 1024 * 1024 - 1024
_ITEM_BYTES = 24
# What the batches of all shards hold together that are recorded at once.
_MAX_ROWS = 4000
_MAX_TOTAL_BYTES = 4 * _MAX_BYTES

_ROW_ID = {"id": "bigint"}
_SHARD = {"shard": "bigint", "generation": "text", "position": "bigint", "batch": "text"}


class ShardChanged(Exception):
    """A shard's row is not what was read before: somebody else, or a backup, has replaced it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """An event that lies in the outbox."""

    id: int
    payload: bytes
    """A serialised `brikk.event.v1.Event`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A shard and its recorded batch, whose rows have the positions up to `position`."""

    number: int
    generation: str
    position: int
    rows: Sequence[Row]

    @property
    def first(self) -> int:
        """Position of the batch's first row."""
        return self.position - len(self.rows) + 1

    def taken(self, mark: int) -> int:
        """Tell how many of the batch's rows a receiver with this mark has taken."""
        return max(0, min(mark, self.position) - self.first + 1)


Shards = Mapping[int, Shard]
"""The shards that were begun, by number."""


def shard_of(subject: str) -> int:
    """Tell in which shard the events of a subject lie."""
    return 1 + crc32(subject.encode()) % SHARDS


class ShardStore:
    """Reads and moves the shards of one destination, each time in the transaction under way."""

    def __init__(self, database: Database, destination: str) -> None:
        self._dialect = database.dialect
        self._destination = {"destination": destination}
        self._locked = (
            select(*OUTBOX_SHARD.c["shard", "generation", "position", "batch"])
            .where(OUTBOX_SHARD.c.destination == destination)
            .order_by(OUTBOX_SHARD.c.shard)
            .with_for_update()
        )
        rows = batch_source(database.dialect, _ROW_ID)
        self._payloads = text(
            f"SELECT outbox.id, payload FROM {rows} JOIN outbox ON outbox.id = b.id"
        )
        self._delete = text(f"DELETE FROM outbox WHERE id IN (SELECT b.id FROM {rows})")
        self._record = text(
            "INSERT INTO outbox_shard (destination, shard, generation, position, batch)"
            " SELECT :destination, b.shard, b.generation, b.position, b.batch"
            f" FROM {batch_source(database.dialect, _SHARD)} WHERE true"
            " ON CONFLICT (destination, shard) DO UPDATE SET generation = excluded.generation,"
            " position = excluded.position, batch = excluded.batch"
        )
        # The first of a shard, and of all, goes however large it is.
        self._oldest = text(
            "SELECT shard, id, payload FROM (SELECT shard, id, payload"
            ", row_number() OVER (PARTITION BY shard ORDER BY id) AS place"
            f", sum(length(payload) + {_ITEM_BYTES}) OVER (PARTITION BY shard ORDER BY id) AS size"
            ", row_number() OVER (ORDER BY id) AS place_of_all"
            ", sum(length(payload)) OVER (ORDER BY id) AS size_of_all"
            " FROM (SELECT shard, id, payload FROM outbox WHERE destination = :destination"
            f" ORDER BY id LIMIT {_MAX_ROWS}) AS oldest) AS sized"
            f" WHERE place <= {_MAX_ITEMS} AND (size <= {_MAX_BYTES} OR place = 1)"
            f" AND (size_of_all <= {_MAX_TOTAL_BYTES} OR place_of_all = 1) ORDER BY id"
        )
        self._depth = text(
            "SELECT count(*) AS rows, (SELECT payload FROM outbox"
            " WHERE destination = :destination ORDER BY id LIMIT 1) AS oldest"
            " FROM outbox WHERE destination = :destination"
        )

    async def load(self, connection: AsyncConnection) -> Shards:
        """Read the shards that were begun, with the batches that were recorded last."""
        recorded = await self._lock(connection)
        ids = [row_id for _, _, batch in recorded.values() for row_id in batch]
        found = await connection.execute(self._payloads, self._batch(ids))
        rows = {row_id: Row(id=row_id, payload=payload) for row_id, payload in found}
        if len(rows) != len(ids):
            # Their positions cannot be told any more, and guessing would skip or repeat events.
            raise RuntimeError("rows of a recorded batch were deleted from the outbox by hand")
        return {
            number: Shard(
                number=number,
                generation=generation,
                position=position,
                rows=[rows[row_id] for row_id in batch],
            )
            for number, (generation, position, batch) in recorded.items()
        }

    async def advance(
        self, connection: AsyncConnection, shards: Shards, marks: Mapping[int, int]
    ) -> Shards:
        """Delete the rows that the receiver has taken, and record the next batch where none is.

        Args:
            marks: what the receiver has of the shards that it was asked for, by number.

        Raises:
            ShardChanged: a shard is not as it was read; read them again, and ask the receiver.
        """
        if await self._lock(connection) != {
            number: (shard.generation, shard.position, _ids(shard.rows))
            for number, shard in shards.items()
        }:
            raise ShardChanged
        moved = dict(shards)
        gone: list[int] = []
        for number, mark in marks.items():
            shard = shards[number]
            taken = shard.taken(mark)
            gone += _ids(shard.rows[:taken])
            moved[number] = (
                begin(number) if mark > shard.position else replace(shard, rows=shard.rows[taken:])
            )
        if gone:
            await connection.execute(self._delete, self._batch(gone))
        for number, rows in (await self._next(connection, moved)).items():
            shard = moved.get(number) or begin(number)
            moved[number] = replace(shard, position=shard.position + len(rows), rows=rows)
        changed = [shard for number, shard in moved.items() if shard != shards.get(number)]
        if changed:
            params = batch_params(self._dialect, _SHARD, [_values(shard) for shard in changed])
            await connection.execute(self._record, self._destination | params)
        return moved

    async def depth(self, connection: AsyncConnection) -> tuple[int, bytes | None]:
        """Tell how many events wait, and give the one that waits longest."""
        row = (await connection.execute(self._depth, self._destination)).one()
        return row.rows, row.oldest

    async def _next(
        self, connection: AsyncConnection, shards: Shards
    ) -> Mapping[int, Sequence[Row]]:
        """Find the next batches of shards that have none."""
        under_way = {number for number, shard in shards.items() if shard.rows}
        found: defaultdict[int, list[Row]] = defaultdict(list)
        for number, row_id, payload in await connection.execute(self._oldest, self._destination):
            found[number].append(Row(id=row_id, payload=payload))
        free: Collection[int] = found.keys() - under_way
        if _ALL_IN_ONE in found:
            free = {_ALL_IN_ONE} - under_way if under_way <= {_ALL_IN_ONE} else ()
        return {number: found[number] for number in free}

    def _batch(self, ids: Sequence[int]) -> dict[str, object]:
        return batch_params(self._dialect, _ROW_ID, [{"id": row_id} for row_id in ids])

    async def _lock(self, connection: AsyncConnection) -> dict[int, tuple[str, int, list[int]]]:
        rows = await connection.execute(self._locked)
        return {row.shard: (row.generation, row.position, row.batch) for row in rows}


def begin(number: int) -> Shard:
    """Begin a shard, of which no receiver has taken anything."""
    return Shard(number=number, generation=str(uuid4()), position=0, rows=())


def _ids(rows: Sequence[Row]) -> list[int]:
    return [row.id for row in rows]


def _values(shard: Shard) -> dict[str, object]:
    return {
        "shard": shard.number,
        "generation": shard.generation,
        "position": shard.position,
        "batch": to_json(_ids(shard.rows)),
    }
