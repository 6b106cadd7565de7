"""Reads of executions, always of one organisation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_workflow.domain.decision import HistoryEntry
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.state_json import StateJson, state_from_json
from brikk_workflow.store.tables import EXECUTION, HISTORY, STEP_OUTPUT

Outputs = Mapping[str, Json]
"""What steps put out, by their paths, and what else a snapshot is too small for."""


async def get_execution(
    connection: AsyncConnection, organization: str, execution_id: str
) -> ExecutionRecord | None:
    """Returns an execution."""
    query = select(EXECUTION).where(
        EXECUTION.c.execution_id == execution_id, EXECUTION.c.organization == organization
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else to_record(row)


async def get_executions(
    connection: AsyncConnection, execution_ids: Collection[str]
) -> Sequence[ExecutionRecord]:
    """Returns executions that were found before, in any order."""
    query = select(EXECUTION).where(EXECUTION.c.execution_id.in_(execution_ids))
    return [to_record(row) for row in await connection.execute(query)]


async def get_execution_by_request(
    connection: AsyncConnection, organization: str, request_id: str
) -> ExecutionRecord | None:
    """Returns the execution that a request started, if it started one."""
    query = select(EXECUTION).where(
        EXECUTION.c.organization == organization, EXECUTION.c.request_id == request_id
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else to_record(row)


async def get_outputs(
    connection: AsyncConnection, execution_ids: Collection[str]
) -> Mapping[str, Outputs]:
    """Returns what the steps of some executions returned, by execution and step."""
    query = select(STEP_OUTPUT).where(STEP_OUTPUT.c.execution_id.in_(execution_ids))
    outputs: dict[str, dict[str, Json]] = {each: {} for each in execution_ids}
    for row in await connection.execute(query):
        outputs[row.execution_id][row.step_id] = row.output
    return outputs


async def get_step_outputs(
    connection: AsyncConnection, execution_id: str, paths: Collection[str]
) -> Outputs:
    """Returns what some steps of an execution put out."""
    query = select(STEP_OUTPUT).where(
        STEP_OUTPUT.c.execution_id == execution_id, STEP_OUTPUT.c.step_id.in_(paths)
    )
    return {row.step_id: row.output for row in await connection.execute(query)}


async def list_history(
    connection: AsyncConnection, execution_id: str, *, after: int, limit: int
) -> Sequence[HistoryEntry]:
    """Returns the history of an execution that was read before, oldest first, after a position."""
    query = (
        select(HISTORY)
        .where(HISTORY.c.execution_id == execution_id, HISTORY.c.seq > after)
        .order_by(HISTORY.c.seq)
        .limit(limit)
    )
    return [
        HistoryEntry(
            sequence=row.seq,
            type=row.type,
            step_id=row.step_id,
            time=row.time,
            attributes=row.attributes,
        )
        for row in await connection.execute(query)
    ]


def to_record(row: Row[Any]) -> ExecutionRecord:
    """Turns a row of the execution table into what the rooms above know."""
    return ExecutionRecord(
        execution_id=row.execution_id,
        organization=row.organization,
        workflow_id=row.workflow_id,
        version=row.version,
        requested_transition=row.requested_transition,
        state=state_from_json(cast("StateJson", row.snapshot)),
        owner=row.owner,
        epoch=row.epoch,
        inbox_seq=row.inbox_seq,
        inbox_folded=row.inbox_folded,
        input=row.input,
        output=row.output,
        labels=row.labels,
        priority=row.priority,
        retry_of=row.retry_of or "",
        placed=row.queue_rank is None,
        traceparent=row.traceparent,
        create_time=row.create_time,
        head=row.head or b"",
    )
