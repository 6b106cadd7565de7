"""The inbox of executions: what people and programs asked, until the owner has folded it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.database import Database
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.record import Wish
from brikk_workflow.store.tables import EXECUTION, EXECUTION_INBOX


async def record_wish(
    connection: AsyncConnection,
    database: Database,
    organization: str,
    execution_id: str,
    *,
    kind: str,
    attributes: Mapping[str, Json],
    request_id: str,
    now: datetime,
) -> bool:
    """Records a wish and wakes whoever holds the execution; false when it has ended or is absent.

    The same request id records it once. The row's `seq` is not touched: only the owner folds.
    """
    locked = await connection.execute(
        select(EXECUTION.c.inbox_seq)
        .where(
            EXECUTION.c.execution_id == execution_id,
            EXECUTION.c.organization == organization,
            EXECUTION.c.end_time.is_(None),
        )
        .with_for_update()
    )
    inbox_seq = locked.scalar_one_or_none()
    if inbox_seq is None:
        return False
    if request_id and await _recorded(connection, execution_id, request_id):
        return True
    await connection.execute(
        update(EXECUTION)
        .where(EXECUTION.c.execution_id == execution_id)
        .values(inbox_seq=inbox_seq + 1, requested_transition=kind, wake_at=text(database.now_sql))
    )
    await connection.execute(
        insert(EXECUTION_INBOX).values(
            execution_id=execution_id,
            inbox_seq=inbox_seq + 1,
            kind=kind,
            attributes=attributes,
            request_id=request_id or None,
            create_time=now,
        )
    )
    return True


async def held_with_wishes(connection: AsyncConnection, replica: str) -> Sequence[str]:
    """Returns the executions of a replica that have wishes it has not folded."""
    query = select(EXECUTION.c.execution_id).where(
        EXECUTION.c.owner == replica,
        EXECUTION.c.end_time.is_(None),
        EXECUTION.c.inbox_seq > EXECUTION.c.inbox_folded,
    )
    return (await connection.execute(query)).scalars().all()


async def read_wishes(
    connection: AsyncConnection, after: Mapping[str, int]
) -> Mapping[str, Sequence[Wish]]:
    """Returns the wishes of some executions, in order, after the position given for each."""
    wishes: dict[str, list[Wish]] = {each: [] for each in after}
    query = (
        select(EXECUTION_INBOX)
        .where(EXECUTION_INBOX.c.execution_id.in_(after))
        .order_by(EXECUTION_INBOX.c.inbox_seq)
    )
    for row in await connection.execute(query):
        if row.inbox_seq > after[row.execution_id]:
            wishes[row.execution_id].append(
                Wish(inbox_seq=row.inbox_seq, kind=row.kind, attributes=row.attributes)
            )
    return wishes


async def _recorded(connection: AsyncConnection, execution_id: str, request_id: str) -> bool:
    query = select(func.count()).where(
        EXECUTION_INBOX.c.execution_id == execution_id,
        EXECUTION_INBOX.c.request_id == request_id,
    )
    return bool((await connection.execute(query)).scalar_one())
