"""Who waits for an agent out of memory: rows that a change of the capability finds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source, dialect_of
from brikk_shared.database import Database
from brikk_workflow.store.tables import AGENT_WAIT, EXECUTION

_COLUMNS = {"organization": "text", "capability": "text", "execution_id": "text"}


async def enter(connection: AsyncConnection, waits: Sequence[Mapping[str, object]]) -> None:
    """Records waits: rows of `organization`, `capability` and `execution_id`."""
    dialect = dialect_of(connection)
    statement = text(_ENTER.format(source=batch_source(dialect, _COLUMNS)))
    await connection.execute(statement, batch_params(dialect, _COLUMNS, waits))


async def forget(connection: AsyncConnection, execution_ids: Collection[str]) -> None:
    """Forgets what some executions wait for: whoever holds them watches for their agents now."""
    await connection.execute(delete(AGENT_WAIT).where(AGENT_WAIT.c.execution_id.in_(execution_ids)))


async def awaited(connection: AsyncConnection) -> Sequence[tuple[str, str]]:
    """Returns what anybody waits for, each organisation and what it asks for once."""
    query = select(AGENT_WAIT.c.organization, AGENT_WAIT.c.capability).distinct()
    return [(row.organization, row.capability) for row in await connection.execute(query)]


async def rouse(
    connection: AsyncConnection,
    database: Database,
    organization: str,
    asked: str,
    *,
    limit: int,
) -> bool:
    """Makes the oldest due that ask for this; tells whether more of them may wait.

    Those due already count towards the limit, so that replicas which hear of the same agent wake
    no more together than one of them would.
    """
    # Not as one join, and by the key alone: before PostgreSQL has counted the rows of a table that
    # has just filled, it begins with whatever index promises to be empty.
    oldest = (
        select(AGENT_WAIT.c.execution_id)
        .where(AGENT_WAIT.c.organization == organization, AGENT_WAIT.c.capability == asked)
        .order_by(AGENT_WAIT.c.execution_id)
        .limit(limit)
    )
    waiting = (await connection.execute(oldest)).scalars().all()
    now = text(database.now_sql)
    locked = (
        select(
            EXECUTION.c.execution_id,
            EXECUTION.c.owner,
            EXECUTION.c.end_time,
            (EXECUTION.c.wake_at > now).label("asleep"),
        )
        .where(EXECUTION.c.execution_id.in_(waiting))
        .with_for_update(skip_locked=True)
    )
    asleep = [
        row.execution_id
        for row in await connection.execute(locked)
        if row.asleep and row.owner is None and row.end_time is None
    ]
    if asleep:
        await connection.execute(
            update(EXECUTION).where(EXECUTION.c.execution_id.in_(asleep)).values(wake_at=now)
        )
    return len(waiting) == limit


_ENTER = """
INSERT INTO agent_wait (organization, capability, execution_id)
SELECT organization, capability, execution_id FROM {source} WHERE true
ON CONFLICT DO NOTHING
"""
