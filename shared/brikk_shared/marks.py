"""How far a service has taken each producer's events: one sent again has no second effect."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.event.v1.event_service_pb2 import PublishItem, PublishRequest
from brikk_shared.errors import BrikkError, invalid_field
from brikk_shared.ids import new_id
from brikk_shared.tables import DEAD_LETTER

_LOCK = text(
    "INSERT INTO inbox_mark (producer, generation, shard, position)"
    " VALUES (:producer, :generation, :shard, 0)"
    " ON CONFLICT (producer, generation, shard) DO UPDATE SET position = inbox_mark.position"
    " RETURNING position"
)
_MOVE = text(
    "UPDATE inbox_mark SET position = :position"
    " WHERE producer = :producer AND generation = :generation AND shard = :shard"
)
_READ = text(
    "SELECT position FROM inbox_mark"
    " WHERE producer = :producer AND generation = :generation AND shard = :shard"
)


def gap_counter(registry: CollectorRegistry) -> Counter:
    """Make the metric of gaps: batches that begin past the next position; this store went back."""
    return Counter(
        "brikk_inbox_gaps_total",
        "Batches of events that began after the position expected next.",
        registry=registry,
    )


async def take(
    connection: AsyncConnection, request: PublishRequest, gaps: Counter | None = None
) -> list[PublishItem]:
    """Give the items that were not taken before, and move the mark past them.

    The effects belong in the same transaction. Batches of one producer and shard wait for one
    another here. A gap is counted in `gaps`, never refused: what is missing will not come back.

    Raises:
        InvalidArgument: the positions do not ascend.
    """
    _check_ascending(request)
    mark = (await connection.execute(_LOCK, _key(request))).scalar_one()
    fresh = [item for item in request.items if item.position > mark]
    if fresh:
        if fresh[0].position > mark + 1 and gaps is not None:
            gaps.inc()
        await connection.execute(_MOVE, {**_key(request), "position": fresh[-1].position})
    return fresh


async def stop_at(connection: AsyncConnection, request: PublishRequest, position: int) -> None:
    """Take the items past a position back, in the transaction that took them: they come again."""
    await connection.execute(_MOVE, {**_key(request), "position": position})


async def read(connection: AsyncConnection, request: PublishRequest) -> int:
    """Give the mark of the request's producer, generation and shard; 0 when there is none."""
    mark: int | None = (await connection.execute(_READ, _key(request))).scalar()
    return mark or 0


async def set_aside(
    connection: AsyncConnection,
    request: PublishRequest,
    refused: Sequence[tuple[PublishItem, BrikkError]],
) -> None:
    """Keep items that will never be taken, in the transaction that moves the mark past them."""
    if refused:
        rows = [_dead_letter(request, item, error) for item, error in refused]
        await connection.execute(insert(DEAD_LETTER), rows)


def _dead_letter(
    request: PublishRequest, item: PublishItem, error: BrikkError
) -> dict[str, object]:
    return {
        "id": new_id(),
        "producer": request.producer,
        "generation": request.generation,
        "shard": request.shard,
        "position": item.position,
        # It may be what the item was refused for, and PostgreSQL has no place for it.
        "organization": item.event.organization.replace("\0", "\ufffd"),
        "payload": item.event.SerializeToString(),
        "reason": error.reason.value,
        "message": error.message,
        "time": datetime.now(UTC),
    }


def _key(request: PublishRequest) -> dict[str, object]:
    return {
        "producer": request.producer,
        "generation": request.generation,
        "shard": request.shard,
    }


def _check_ascending(request: PublishRequest) -> None:
    before = 0
    for index, item in enumerate(request.items):
        if item.position <= before:
            raise invalid_field(f"items[{index}].position", "must be above the one before it")
        before = item.position
