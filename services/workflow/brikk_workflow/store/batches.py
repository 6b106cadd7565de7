"""Batches: what was asked of many executions, and how far that has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.errors import InvalidArgument, Reason
from brikk_shared.turns import take_turn
from brikk_workflow.domain.batch import BatchStatus, BatchVerb
from brikk_workflow.store.search import Position, Search, Span
from brikk_workflow.store.search_json import SearchJson, search_from_json, search_to_json
from brikk_workflow.store.tables import BATCH

KEPT = timedelta(days=30)
"""How long a batch is remembered after its end."""
SHOWN_FAILURES = 20
"""Of how many executions a batch tells why they refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """An execution that refused, and why."""

    execution_id: str
    code: str
    reason: str
    message: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchRecord:
    """A batch. `after` is the execution that was asked last, None before the first page.

    `workflow` names what a retry runs, empty for what had been run.
    """

    batch_id: str
    organization: str
    verb: BatchVerb
    search: Search
    reason: str
    workflow: str
    status: BatchStatus = BatchStatus.RUNNING
    matched: int
    done: int = 0
    failed: int = 0
    failures: tuple[Refusal, ...] = ()
    after: Position | None = None
    create_time: datetime
    end_time: datetime | None = None

    @property
    def scope(self) -> Search:
        """What it asks of: nothing that was accepted later."""
        created = self.search.created
        until = min(created.until or self.create_time, self.create_time)
        return replace(self.search, created=Span(since=created.since, until=until))

    def asked(
        self, page: Sequence[Position], done: int, refused: Sequence[Refusal], *, now: datetime
    ) -> BatchRecord:
        """Returns it after a page of executions was asked; an empty page is its end."""
        return replace(
            self,
            status=self.status if page else BatchStatus.SUCCEEDED,
            end_time=None if page else now,
            done=self.done + done,
            failed=self.failed + len(refused),
            failures=(*self.failures, *refused)[:SHOWN_FAILURES],
            after=page[-1] if page else self.after,
        )


async def create(
    connection: AsyncConnection, record: BatchRecord, *, request_id: str
) -> BatchRecord:
    """Records a batch, or returns the one that the request id made.

    Raises:
        InvalidArgument: REQUEST_ID_REUSED, the request id made another batch.
    """
    await take_turn(connection, f"batches of {record.organization}")
    if request_id:
        query = select(BATCH).where(
            BATCH.c.organization == record.organization, BATCH.c.request_id == request_id
        )
        row = (await connection.execute(query)).one_or_none()
        if row is not None:
            return _same(_to_record(row), record, request_id)
    await connection.execute(
        delete(BATCH).where(
            BATCH.c.organization == record.organization,
            BATCH.c.end_time < record.create_time - KEPT,
        )
    )
    await connection.execute(
        insert(BATCH).values(
            batch_id=record.batch_id,
            organization=record.organization,
            verb=record.verb,
            search=search_to_json(record.search),
            reason=record.reason,
            workflow=record.workflow,
            matched=record.matched,
            request_id=request_id or None,
            create_time=record.create_time,
            **_progress(record),
        )
    )
    return record


async def get_batch(
    connection: AsyncConnection, organization: str, batch_id: str, *, lock: bool = False
) -> BatchRecord | None:
    """Returns a batch; with `lock`, nobody else changes it before the transaction ends."""
    query = select(BATCH).where(BATCH.c.batch_id == batch_id, BATCH.c.organization == organization)
    if lock:
        query = query.with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _to_record(row)


async def list_batches(
    connection: AsyncConnection, organization: str, *, before: str, limit: int
) -> Sequence[BatchRecord]:
    """Returns batches, newest first, those with ids below `before`; empty for all."""
    query = select(BATCH).where(BATCH.c.organization == organization)
    if before:
        query = query.where(BATCH.c.batch_id < before)
    rows = await connection.execute(query.order_by(BATCH.c.batch_id.desc()).limit(limit))
    return [_to_record(row) for row in rows]


async def open_batches(connection: AsyncConnection, *, limit: int) -> Sequence[BatchRecord]:
    """Returns batches of any organisation that have not ended, oldest first."""
    query = select(BATCH).where(BATCH.c.end_time.is_(None)).order_by(BATCH.c.batch_id).limit(limit)
    return [_to_record(row) for row in await connection.execute(query)]


async def save(connection: AsyncConnection, record: BatchRecord) -> None:
    """Writes how far a batch has come; it must have been read with `lock`."""
    await connection.execute(
        update(BATCH).where(BATCH.c.batch_id == record.batch_id).values(**_progress(record))
    )


def _same(made: BatchRecord, record: BatchRecord, request_id: str) -> BatchRecord:
    if _asked(made) != _asked(record):
        raise InvalidArgument(
            Reason.REQUEST_ID_REUSED,
            f"request id {request_id} was used for another batch",
            metadata={"request_id": request_id},
        )
    return made


def _asked(record: BatchRecord) -> tuple[object, ...]:
    return (record.verb, record.search, record.reason, record.workflow)


def _progress(record: BatchRecord) -> dict[str, object]:
    return {
        "status": record.status,
        "done": record.done,
        "failed": record.failed,
        "failures": [
            {
                "execution_id": each.execution_id,
                "code": each.code,
                "reason": each.reason,
                "message": each.message,
                "metadata": each.metadata,
            }
            for each in record.failures
        ],
        "after_time": record.after and record.after.create_time,
        "after_id": record.after and record.after.execution_id,
        "end_time": record.end_time,
    }


def _to_record(row: Row[Any]) -> BatchRecord:
    return BatchRecord(
        batch_id=row.batch_id,
        organization=row.organization,
        verb=BatchVerb(row.verb),
        search=search_from_json(cast("SearchJson", row.search)),
        reason=row.reason,
        workflow=row.workflow,
        status=BatchStatus(row.status),
        matched=row.matched,
        done=row.done,
        failed=row.failed,
        failures=tuple(Refusal(**each) for each in row.failures),
        after=(
            Position(create_time=row.after_time, execution_id=row.after_id)
            if row.after_id is not None
            else None
        ),
        create_time=row.create_time,
        end_time=row.end_time,
    )
