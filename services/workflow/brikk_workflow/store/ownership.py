"""Which replica holds which execution: claiming what nobody runs, and letting go."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import and_, not_, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.database import Database
from brikk_shared.tables import LEASE
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.store.executions import to_record
from brikk_workflow.store.tables import EXECUTION

MICROSECOND = timedelta(microseconds=1)
REPLICA = "replica/"
"""Prefix of the name of a replica's lease."""


async def claim(
    connection: AsyncConnection, database: Database, replica: str, *, limit: int
) -> Sequence[ExecutionRecord]:
    """Takes open executions that are due and that no live replica holds, longest due first.

    Each gets a higher epoch, which fences off whoever held it before.
    """
    live = select(LEASE.c.name).where(
        LEASE.c.name.startswith(REPLICA), LEASE.c.expires_at > text(database.now_sql)
    )
    unowned = and_(EXECUTION.c.owner.is_(None), EXECUTION.c.wake_at <= text(database.now_sql))
    orphaned = and_(EXECUTION.c.owner != replica, not_(EXECUTION.c.owner.in_(live)))
    due = (
        select(EXECUTION.c.execution_id)
        .where(EXECUTION.c.end_time.is_(None), or_(unowned, orphaned))
        .order_by(EXECUTION.c.wake_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    taken = (
        update(EXECUTION)
        .where(EXECUTION.c.execution_id.in_(select(due.c.execution_id)))
        .values(owner=replica, epoch=EXECUTION.c.epoch + 1)
        .returning(EXECUTION)
    )
    return [to_record(row) for row in await connection.execute(taken)]


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
