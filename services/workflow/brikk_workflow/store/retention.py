"""What has ended long ago: found in the order of its end, deleted with all that belongs to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_workflow.store.tables import (
    AGENT_WAIT,
    EXECUTION,
    EXECUTION_INBOX,
    HISTORY,
    PROGRESS,
    STEP_OUTPUT,
)

OF_EXECUTIONS = (HISTORY, STEP_OUTPUT, EXECUTION_INBOX, AGENT_WAIT, PROGRESS)
"""The tables whose rows go with their execution, but those that the store keeps by itself."""

# The organisations are few, the executions many: each step is one look into the index.
_ORGANIZATIONS = text(
    """
WITH RECURSIVE found (organization) AS (
    SELECT min(organization) FROM execution WHERE end_time IS NOT NULL
    UNION ALL
    SELECT (
        SELECT min(organization) FROM execution
        WHERE end_time IS NOT NULL AND organization > found.organization
    )
    FROM found WHERE found.organization IS NOT NULL
)
SELECT organization FROM found WHERE organization IS NOT NULL
"""
)


async def organizations(connection: AsyncConnection) -> Sequence[str]:
    """Returns the organisations with executions that have ended."""
    return (await connection.execute(_ORGANIZATIONS)).scalars().all()


async def ended(
    connection: AsyncConnection,
    organization: str,
    *,
    before: datetime,
    after: tuple[datetime, str] | None = None,
    limit: int,
) -> Sequence[tuple[datetime, str]]:
    """Returns when and which executions ended before a time, the earliest first.

    `after` is the last one that was returned before.
    """
    place = (EXECUTION.c.end_time, EXECUTION.c.execution_id)
    query = (
        select(*place)
        .where(EXECUTION.c.organization == organization, EXECUTION.c.end_time < before)
        .order_by(*place)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(*place) > after)
    return [(row.end_time, row.execution_id) for row in await connection.execute(query)]


async def remove(connection: AsyncConnection, execution_ids: Collection[str]) -> None:
    """Deletes executions and all that belongs to them."""
    for table in (*OF_EXECUTIONS, EXECUTION):
        await connection.execute(delete(table).where(table.c.execution_id.in_(execution_ids)))
