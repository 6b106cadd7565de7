"""How far a shard of the outbox has come, and the one batch of it that is under way: a row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.outbox import SHARD
from brikk_shared.tables import OUTBOX_SHARD

# The contract's limits of a batch. What the envelope adds to an event is less than the allowance.
_MAX_ITEMS = 500
_MAX_BYTES = 1024 * 1024 - 1024
_ITEM_BYTES = 24

_ROW_ID = {"id": "bigint"}


class ShardChanged(Exception):
    """The shard's row is not what was read before: somebody else, or a backup, has replaced it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """An event that lies in the outbox."""

    id: int
    payload: bytes
    """A serialised `brikk.event.v1.Event`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A shard and its recorded batch, whose rows have the positions up to `position`."""

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


class ShardStore:
    """Reads and moves the shard of one destination, each time in the transaction under way."""

    def __init__(self, database: Database, destination: str) -> None:
        self._dialect = database.dialect
        self._key = {"destination": destination, "shard": SHARD}
        self._this = (OUTBOX_SHARD.c.destination == destination) & (OUTBOX_SHARD.c.shard == SHARD)
        rows = batch_source(database.dialect, _ROW_ID)
        self._payloads = text(
            f"SELECT outbox.id, payload FROM {rows} JOIN outbox ON outbox.id = b.id ORDER BY b.id"
        )
        self._delete = text(f"DELETE FROM outbox WHERE id IN (SELECT b.id FROM {rows})")
        self._oldest = text(
            "SELECT id, payload FROM (SELECT id, payload, row_number() OVER (ORDER BY id) AS place"
            f", sum(length(payload) + {_ITEM_BYTES}) OVER (ORDER BY id) AS size"
            " FROM (SELECT id, payload FROM outbox"
            " WHERE destination = :destination AND shard = :shard"
            f" ORDER BY id LIMIT {_MAX_ITEMS}) AS oldest) AS sized"
            f" WHERE size <= {_MAX_BYTES} OR place = 1 ORDER BY id"
        )

        self._depth = text(
            "SELECT count(*) AS rows, (SELECT payload FROM outbox"
            " WHERE destination = :destination AND shard = :shard ORDER BY id LIMIT 1) AS oldest"
            " FROM outbox WHERE destination = :destination AND shard = :shard"
        )

    async def load(self, connection: AsyncConnection) -> Shard:
        """Read the shard with the batch that was recorded last; the first time, begin it."""
        recorded = await self._lock(connection)
        if recorded is None:
            shard = Shard(generation=str(uuid4()), position=0, rows=())
            await connection.execute(insert(OUTBOX_SHARD).values(**self._key, **_values(shard)))
            return shard
        generation, position, batch = recorded
        found = await connection.execute(self._payloads, self._batch(batch))
        rows = [Row(id=row_id, payload=payload) for row_id, payload in found]
        if len(rows) != len(batch):
            # Their positions cannot be told any more, and guessing would skip or repeat events.
            raise RuntimeError("rows of the recorded batch were deleted from the outbox by hand")
        return Shard(generation=generation, position=position, rows=rows)

    async def advance(self, connection: AsyncConnection, shard: Shard, mark: int) -> Shard:
        """Delete the rows that the receiver has taken; when none is left, record the next batch.

        Raises:
            ShardChanged: the shard is not as it was read; read it again, and ask the receiver.
        """
        if await self._lock(connection) != (shard.generation, shard.position, _ids(shard.rows)):
            raise ShardChanged
        taken = shard.taken(mark)
        if taken:
            await connection.execute(self._delete, self._batch(_ids(shard.rows)[:taken]))
        moved = replace(shard, rows=shard.rows[taken:])
        if mark > shard.position:
            moved = Shard(generation=str(uuid4()), position=0, rows=())
        if not moved.rows:
            found = await connection.execute(self._oldest, self._key)
            rows = [Row(id=row_id, payload=payload) for row_id, payload in found]
            moved = replace(moved, position=moved.position + len(rows), rows=rows)
        if moved != shard:
            values = _values(moved)
            await connection.execute(update(OUTBOX_SHARD).where(self._this).values(**values))
        return moved

    async def depth(self, connection: AsyncConnection) -> tuple[int, bytes | None]:
        """Tell how many events wait, and give the one that waits longest."""
        row = (await connection.execute(self._depth, self._key)).one()
        return row.rows, row.oldest

    def _batch(self, ids: Sequence[int]) -> dict[str, object]:
        return batch_params(self._dialect, _ROW_ID, [{"id": row_id} for row_id in ids])

    async def _lock(self, connection: AsyncConnection) -> tuple[str, int, list[int]] | None:
        columns = OUTBOX_SHARD.c["generation", "position", "batch"]
        locked = select(*columns).where(self._this).with_for_update()
        row = (await connection.execute(locked)).first()
        return None if row is None else (row.generation, row.position, row.batch)


def _ids(rows: Sequence[Row]) -> list[int]:
    return [row.id for row in rows]


def _values(shard: Shard) -> dict[str, object]:
    return {
        "generation": shard.generation,
        "position": shard.position,
        "batch": _ids(shard.rows),
    }
