"""Executions as they come into memory: each read so that one that cannot be is nobody else's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.wish import Wish
from brikk_workflow.store.executions import Outputs, get_outputs, to_record
from brikk_workflow.store.tables import EXECUTION
from brikk_workflow.store.wishes import read_wishes

# What reading text raises that is no snapshot, or none that this version of the program knows.
UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """An execution with what its steps returned and what was asked of it meanwhile."""

    record: ExecutionRecord
    outputs: Outputs
    wishes: Sequence[Wish]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """An execution whose rows cannot be read, and why."""

    execution_id: str
    error: Exception


async def load(
    connection: AsyncConnection, execution_ids: Collection[str]
) -> Sequence[Loaded | Unreadable]:
    """Returns executions, in any order; all at once, or one by one when a row cannot be read."""
    try:
        return await _load(connection, execution_ids)
    except UNREADABLE:
        return [each for one in execution_ids for each in await _load_one(connection, one)]


async def _load(connection: AsyncConnection, execution_ids: Collection[str]) -> Sequence[Loaded]:
    query = select(EXECUTION).where(EXECUTION.c.execution_id.in_(execution_ids))
    records = [to_record(row) for row in await connection.execute(query)]
    outputs = await get_outputs(connection, execution_ids)
    unread = {
        each.execution_id: each.inbox_folded
        for each in records
        if each.inbox_seq > each.inbox_folded
    }
    wishes = await read_wishes(connection, unread) if unread else {}
    return [
        Loaded(
            record=each,
            outputs=outputs[each.execution_id],
            wishes=wishes.get(each.execution_id, ()),
        )
        for each in records
    ]


async def _load_one(
    connection: AsyncConnection, execution_id: str
) -> Sequence[Loaded | Unreadable]:
    try:
        return await _load(connection, [execution_id])
    except UNREADABLE as error:
        return [Unreadable(execution_id=execution_id, error=error)]
