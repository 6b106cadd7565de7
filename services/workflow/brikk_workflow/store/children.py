"""Executions that others run, by the request id that tells which: `executions/{above}/{path}`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_workflow.store.tables import EXECUTION, OPEN_CHILD

_PREFIX = "executions/"
_ID_LENGTH = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Child:
    """An execution that a step of another one runs; `above` is the id of that one."""

    organization: str
    above: str
    request_id: str


async def find_orphans(connection: AsyncConnection, *, limit: int) -> list[Child]:
    """Returns executions that go on though the one above has ended."""
    above = EXECUTION.alias("above")
    ended = exists().where(
        above.c.execution_id == func.substr(EXECUTION.c.request_id, len(_PREFIX) + 1, _ID_LENGTH),
        above.c.organization == EXECUTION.c.organization,
        above.c.end_time.is_not(None),
    )
    query = (
        select(EXECUTION.c.organization, EXECUTION.c.request_id)
        .where(OPEN_CHILD, ended)
        .limit(limit)
    )
    return [
        Child(
            organization=organization,
            above=request_id.removeprefix(_PREFIX)[:_ID_LENGTH],
            request_id=request_id,
        )
        for organization, request_id in await connection.execute(query)
    ]
