"""Executions with their histories as lines of JSON: what is exported, archived and verified.

docs/history.md states the form.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Row, Select, Text, select, tuple_, type_coerce

from brikk_shared.database import Database
from brikk_shared.types import to_json
from brikk_workflow.store.tables import EXECUTION, HISTORY, STEP_OUTPUT

# Rows read at once: an entry takes some hundred bytes, an output up to a mebibyte.
_ENTRIES = 1000
_OUTPUTS = 20


async def export(database: Database, execution_ids: Sequence[str]) -> AsyncIterator[str]:
    """Yields executions in the order of their ids, each as it stands, with all that belongs to it.

    Of one that runs on meanwhile, the entries up to the one that its first line names. No
    transaction is open while a line is taken, so whoever takes them may be slow.
    """
    headers = _HEADERS.where(EXECUTION.c.execution_id.in_(execution_ids))
    async with database.reading() as connection:
        executions = (await connection.execute(headers)).all()
    mine = HISTORY.c.execution_id.in_(execution_ids)
    entries = _Rows(database, _HISTORY.where(mine), _HISTORY_KEY, limit=_ENTRIES)
    mine = STEP_OUTPUT.c.execution_id.in_(execution_ids)
    outputs = _Rows(database, _OUTPUT.where(mine), _OUTPUT_KEY, limit=_OUTPUTS)
    for execution in executions:
        yield _header(execution)
        yield f'{{"kind":"input","value":{execution.input}}}'
        async for entry in entries.of(execution.execution_id):
            if entry.seq <= execution.seq:
                yield _entry(entry)
        async for output in outputs.of(execution.execution_id):
            step = to_json(output.step_id)
            yield f'{{"kind":"output","step":{step},"value":{output.output}}}'
        if execution.output is not None:
            yield f'{{"kind":"output","step":"","value":{execution.output}}}'


async def chunks(lines: AsyncIterator[str], size: int) -> AsyncGenerator[bytes]:
    """Yields lines as a file, in pieces of a size; the last one may be smaller."""
    buffer = bytearray()
    async for line in lines:
        buffer += line.encode()
        buffer += b"\n"
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)


class _Rows:
    """Rows of some executions in the order of their key, read page by page."""

    def __init__(
        self,
        database: Database,
        query: Select[Any],
        key: Sequence[ColumnElement[Any]],
        *,
        limit: int,
    ) -> None:
        self._database = database
        self._query = query.order_by(*key).limit(limit)
        self._key = key
        self._limit = limit
        self._page: deque[Row[Any]] = deque()
        self._after: tuple[object, ...] | None = None
        self._more = True

    async def of(self, execution_id: str) -> AsyncIterator[Row[Any]]:
        """Yields the rows of the execution whose turn it is; the others wait for theirs."""
        while await self._fill() and self._page[0].execution_id == execution_id:
            yield self._page.popleft()

    async def _fill(self) -> bool:
        if not self._page and self._more:
            query = self._query
            if self._after is not None:
                query = query.where(tuple_(*self._key) > self._after)
            async with self._database.reading() as connection:
                self._page.extend(await connection.execute(query))
            self._more = len(self._page) == self._limit
            if self._page:
                self._after = tuple(self._page[-1][: len(self._key)])
        return bool(self._page)


# Texts and numbers as they are stored: what is hashed must not be read and written anew.
_HEADERS = select(
    EXECUTION.c.execution_id,
    EXECUTION.c.organization,
    EXECUTION.c.workflow_id,
    EXECUTION.c.version,
    EXECUTION.c.status,
    EXECUTION.c.labels,
    EXECUTION.c.priority,
    EXECUTION.c.retry_of,
    type_coerce(EXECUTION.c.create_time, BigInteger).label("create_time"),
    type_coerce(EXECUTION.c.end_time, BigInteger).label("end_time"),
    EXECUTION.c.seq,
    EXECUTION.c.head,
    type_coerce(EXECUTION.c.input, Text).label("input"),
    type_coerce(EXECUTION.c.output, Text).label("output"),
).order_by(EXECUTION.c.execution_id)
_HISTORY_KEY = (HISTORY.c.execution_id, HISTORY.c.seq)
_HISTORY = select(
    *_HISTORY_KEY,
    HISTORY.c.type,
    HISTORY.c.step_id,
    type_coerce(HISTORY.c.time, BigInteger).label("time"),
    type_coerce(HISTORY.c.attributes, Text).label("attributes"),
    HISTORY.c.hash,
)
_OUTPUT_KEY = (STEP_OUTPUT.c.execution_id, STEP_OUTPUT.c.step_id)
_OUTPUT = select(*_OUTPUT_KEY, type_coerce(STEP_OUTPUT.c.output, Text).label("output"))


def _header(row: Row[Any]) -> str:
    return to_json(
        {
            "kind": "execution",
            "organization": row.organization,
            "execution": row.execution_id,
            "workflow_version": f"workflows/{row.workflow_id}/versions/{row.version}",
            "state": row.status,
            "labels": row.labels,
            "priority": row.priority,
            "retry_of": f"executions/{row.retry_of}" if row.retry_of else "",
            "create_time": row.create_time,
            "end_time": row.end_time,
            "sequence": row.seq,
            "hash": (row.head or b"").hex(),
        }
    )


def _entry(row: Row[Any]) -> str:
    return to_json(
        {
            "kind": "entry",
            "sequence": row.seq,
            "type": row.type,
            "step": row.step_id,
            "time": row.time,
            "attributes": row.attributes,
            "hash": (row.hash or b"").hex(),
        }
    )
