"""Which replica holds which execution: claiming what nobody runs, and letting go."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.tables import LEASE
from brikk_workflow.store import waits
from brikk_workflow.store.tables import EXECUTION
from brikk_workflow.store.turns import Turns

MICROSECOND = timedelta(microseconds=1)
REPLICA = "replica/"
"""Prefix of the name of a replica's lease."""

_LEAVING = {
    "execution_id": "text",
    "epoch": "bigint",
    "seq": "bigint",
    "wake_at": "timestamp",
    "at_once": "bool",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaving:
    """An execution that its holder wants to let go, as the holder last saw it.

    `wake_at` is when it has to be looked at again, unless an agent comes up before that offers one
    of the `awaited` capabilities. With `at_once` it goes whatever has come for it, and is due.
    """

    organization: str
    execution_id: str
    epoch: int
    sequence: int
    wake_at: datetime | None
    awaited: Collection[str]
    at_once: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """Executions that were taken: of replicas whose leases have ended, and of nobody."""

    orphaned: Sequence[str]
    due: Sequence[str]


async def claim(
    connection: AsyncConnection,
    database: Database,
    replica: str,
    turns: Turns,
    *,
    limit: int,
    ahead: timedelta = timedelta(0),
) -> Claimed:
    """Takes open executions that no live replica holds; returns them.

    Those of dead replicas come first, but never more than half, so that neither a crash nor a host
    of timers keeps the others waiting; then those that are due or will be `ahead` of now, longest
    due first, or by turns where there are more of them than the limit. Each gets a higher epoch,
    which fences off whoever held it before.
    """
    dead = await _dead_owners(connection, database, replica)
    orphaned: Sequence[str] = ()
    if dead:
        theirs = EXECUTION.c.owner.in_(dead)
        orphaned = await _take(connection, replica, theirs, limit=(limit + 1) // 2)
    # A query of its own, so that it is asked once: PostgreSQL seeks no moving time in an index.
    horizon = text(f"(SELECT {database.now_sql} + {ahead // MICROSECOND})")
    due = and_(EXECUTION.c.owner.is_(None), EXECUTION.c.wake_at <= horizon)
    limit -= len(orphaned)
    taken: list[str] = []
    fair = await turns.fair(connection, due, limit=limit)
    if fair:
        first = and_(due, EXECUTION.c.execution_id.in_(fair))
        taken += await _take(connection, replica, first, limit=limit)
    taken += await _take(connection, replica, due, limit=limit - len(taken))
    if orphaned or taken:
        await waits.forget(connection, [*orphaned, *taken])
    return Claimed(orphaned=orphaned, due=taken)


async def longest_due(connection: AsyncConnection, database: Database) -> timedelta:
    """Returns for how long an execution that nobody holds has been due; 0 when none is."""
    query = text(
        f"SELECT {database.now_sql} - min(wake_at) FROM execution"
        " WHERE owner IS NULL AND end_time IS NULL"
    )
    microseconds: int | None = (await connection.execute(query)).scalar()
    return max(timedelta(0), (microseconds or 0) * MICROSECOND)


async def retake(
    connection: AsyncConnection, replica: str, execution_ids: Collection[str]
) -> Sequence[str]:
    """Takes executions that the replica owns already and does not know of; returns them."""
    ours = and_(EXECUTION.c.owner == replica, EXECUTION.c.execution_id.in_(execution_ids))
    return await _take(connection, replica, ours, limit=len(execution_ids))


async def owned(connection: AsyncConnection, replica: str) -> Collection[str]:
    """Returns the open executions of a replica."""
    query = select(EXECUTION.c.execution_id).where(
        EXECUTION.c.owner == replica, EXECUTION.c.end_time.is_(None)
    )
    return (await connection.execute(query)).scalars().all()


async def leave(
    connection: AsyncConnection,
    database: Database,
    leaving: Sequence[Leaving],
    *,
    margin: timedelta,
) -> Sequence[bool]:
    """Lets go of executions; tells of each whether it was as its holder believed.

    It stays when something has come for it, and when by the store's clock it is due within the
    margin: a holder whose clock is behind would otherwise claim and leave it over and over.
    """
    rows = [
        {
            "execution_id": each.execution_id,
            "epoch": each.epoch,
            "seq": each.sequence,
            "wake_at": each.wake_at,
            "at_once": each.at_once,
        }
        for each in leaving
    ]
    source = batch_source(database.dialect, _LEAVING)
    statement = text(_LEAVE.format(now=database.now_sql, source=source))
    params = batch_params(database.dialect, _LEAVING, rows) | {"margin": margin // MICROSECOND}
    left = set((await connection.execute(statement, params)).scalars())
    waiting = [
        {
            "organization": each.organization,
            "capability": capability,
            "execution_id": each.execution_id,
        }
        for each in leaving
        if each.execution_id in left
        for capability in each.awaited
    ]
    if waiting:
        await waits.enter(connection, waiting)
    return [each.execution_id in left for each in leaving]


async def release(
    connection: AsyncConnection,
    database: Database,
    replica: str,
    execution_ids: Collection[str] | None = None,
    *,
    after: timedelta = timedelta(0),
) -> None:
    """Lets go of some executions, or of all that the replica holds: anyone may claim them then."""
    held = and_(EXECUTION.c.owner == replica, EXECUTION.c.end_time.is_(None))
    if execution_ids is not None:
        held = and_(held, EXECUTION.c.execution_id.in_(execution_ids))
    await connection.execute(
        update(EXECUTION)
        .where(held)
        .values(owner=None, wake_at=text(f"{database.now_sql} + {after // MICROSECOND}"))
    )


# The owners are few, the executions many: each step of the recursion is one look into the index.
_OWNERS = text(
    """
WITH RECURSIVE held (owner) AS (
    SELECT min(owner) FROM execution WHERE end_time IS NULL
    UNION ALL
    SELECT (SELECT min(owner) FROM execution WHERE end_time IS NULL AND owner > held.owner)
    FROM held WHERE held.owner IS NOT NULL
)
SELECT owner FROM held WHERE owner IS NOT NULL
"""
)
_LEAVE = """
UPDATE execution SET
    owner = NULL, wake_at = CASE WHEN b.at_once THEN {now} ELSE b.wake_at END
FROM {source}
WHERE execution.execution_id = b.execution_id AND execution.epoch = b.epoch
    AND execution.end_time IS NULL
    AND (
        b.at_once
        OR execution.seq = b.seq AND execution.inbox_seq = execution.inbox_folded
        AND coalesce(b.wake_at > {now} + :margin, true)
    )
RETURNING execution.execution_id
"""


async def _dead_owners(
    connection: AsyncConnection, database: Database, replica: str
) -> Collection[str]:
    owners = set((await connection.execute(_OWNERS)).scalars()) - {replica}
    if not owners:
        return owners
    live = select(LEASE.c.name).where(
        LEASE.c.name.in_(owners), LEASE.c.expires_at > text(database.now_sql)
    )
    return owners - set((await connection.execute(live)).scalars())


async def _take(
    connection: AsyncConnection, replica: str, which: ColumnElement[bool], *, limit: int
) -> Sequence[str]:
    free = (
        select(EXECUTION.c.execution_id)
        .where(EXECUTION.c.end_time.is_(None), which)
        .order_by(EXECUTION.c.wake_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("free")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    taken = (
        update(EXECUTION)
        .where(EXECUTION.c.execution_id.in_(select(free.c.execution_id)))
        .values(owner=replica, epoch=EXECUTION.c.epoch + 1)
        .returning(EXECUTION.c.execution_id)
    )
    return list((await connection.execute(taken)).scalars())
