"""The inbox of executions: what people and programs asked, until the owner has folded it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, case, insert, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.database import Database
from brikk_shared.errors import InvalidArgument, Reason, ResourceExhausted
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.wish import Wish, WishKind
from brikk_workflow.store.executions import to_record
from brikk_workflow.store.tables import EXECUTION, EXECUTION_INBOX

MAX_UNREAD = 1000
"""Most wishes of one execution that its owner has not folded yet."""
FULL_PAUSE = timedelta(seconds=1)
"""When to come back once there are so many."""
_KINDS = frozenset(WishKind)


async def record_wish(
    connection: AsyncConnection,
    database: Database,
    organization: str,
    execution_id: str,
    *,
    kind: WishKind,
    attributes: Mapping[str, Json],
    request_id: str,
    now: datetime,
    admit: Callable[[ExecutionRecord], None] | None = None,
) -> ExecutionRecord | None:
    """Records a wish, wakes whoever holds the execution, and returns it as it stands then.

    None when the organisation has no such execution. One that has ended stays as it is. The same
    request id records a wish once. The row's `seq` is not touched: only the owner folds. `admit`
    is told of the execution right before the wish is recorded, and may raise to refuse it.

    Raises:
        InvalidArgument: REQUEST_ID_REUSED, the request id recorded another wish.
        ResourceExhausted: QUOTA_EXCEEDED, too many wishes were not taken up yet.
    """
    locked = select(EXECUTION).where(
        EXECUTION.c.execution_id == execution_id, EXECUTION.c.organization == organization
    )
    row = (await connection.execute(locked.with_for_update())).one_or_none()
    if row is None:
        return None
    record = to_record(row)
    if request_id and await _recorded(connection, execution_id, request_id, kind, attributes):
        return record
    if record.state.status.terminal:
        return record
    if record.inbox_seq - record.inbox_folded >= MAX_UNREAD:
        raise _full(execution_id)
    if admit is not None:
        admit(record)
    transition: str = kind
    if kind is WishKind.SIGNAL:
        unread = record.inbox_seq > record.inbox_folded
        transition = record.requested_transition if unread else ""
    record = replace(record, inbox_seq=record.inbox_seq + 1, requested_transition=transition)
    await _enter(
        connection,
        database,
        {execution_id: record.inbox_seq},
        kind=kind,
        attributes=attributes,
        request_id=request_id,
        now=now,
    )
    return record


async def record_wishes(
    connection: AsyncConnection,
    database: Database,
    execution_ids: Collection[str],
    *,
    kind: WishKind,
    attributes: Mapping[str, Json],
    now: datetime,
) -> Mapping[str, ResourceExhausted | None]:
    """Records the same wish for many executions and wakes whoever holds them.

    Returns those that had not ended, with why it was not recorded where it was not: too many
    wishes were not taken up yet.
    """
    # In the order in which transitions lock them, too.
    locked = (
        select(EXECUTION.c.execution_id, EXECUTION.c.inbox_seq, EXECUTION.c.inbox_folded)
        .where(EXECUTION.c.execution_id.in_(execution_ids), EXECUTION.c.end_time.is_(None))
        .order_by(EXECUTION.c.execution_id)
        .with_for_update()
    )
    outcomes: dict[str, ResourceExhausted | None] = {}
    places: dict[str, int] = {}
    for row in await connection.execute(locked):
        full = row.inbox_seq - row.inbox_folded >= MAX_UNREAD
        outcomes[row.execution_id] = _full(row.execution_id) if full else None
        if not full:
            places[row.execution_id] = row.inbox_seq + 1
    if places:
        await _enter(
            connection,
            database,
            places,
            kind=kind,
            attributes=attributes,
            request_id="",
            now=now,
        )
    return outcomes


async def change_version(
    connection: AsyncConnection, execution_id: str, *, version: int, concurrency: int | None
) -> None:
    """Has an execution go on by another version: whoever holds it by the old one has lost it."""
    await connection.execute(
        update(EXECUTION)
        .where(EXECUTION.c.execution_id == execution_id)
        .values(version=version, concurrency=concurrency, owner=None, epoch=EXECUTION.c.epoch + 1)
    )


async def held_with_wishes(
    connection: AsyncConnection, database: Database, replica: str
) -> Sequence[str]:
    """Returns the executions of a replica that have wishes it has not folded."""
    query = select(EXECUTION.c.execution_id).where(
        EXECUTION.c.owner == replica,
        EXECUTION.c.end_time.is_(None),
        # A wish makes its execution due, so that those that merely wait need not be looked at.
        EXECUTION.c.wake_at <= text(database.now_sql),
        EXECUTION.c.inbox_seq > EXECUTION.c.inbox_folded,
    )
    return (await connection.execute(query)).scalars().all()


async def read_wishes(
    connection: AsyncConnection, after: Mapping[str, int]
) -> Mapping[str, Sequence[Wish]]:
    """Returns the wishes of some executions, in order, after the position given for each.

    One of a kind that only a newer program knows stays unread, and so do those that follow it.
    """
    wishes: dict[str, list[Wish]] = {each: [] for each in after}
    unknown: set[str] = set()
    query = (
        select(EXECUTION_INBOX)
        .join(EXECUTION, EXECUTION.c.execution_id == EXECUTION_INBOX.c.execution_id)
        .where(
            EXECUTION_INBOX.c.execution_id.in_(after),
            EXECUTION_INBOX.c.inbox_seq > EXECUTION.c.inbox_folded,
        )
        .order_by(EXECUTION_INBOX.c.inbox_seq)
    )
    for row in await connection.execute(query):
        if row.kind not in _KINDS:
            unknown.add(row.execution_id)
        elif row.inbox_seq > after[row.execution_id] and row.execution_id not in unknown:
            wishes[row.execution_id].append(
                Wish(inbox_seq=row.inbox_seq, kind=WishKind(row.kind), attributes=row.attributes)
            )
    return wishes


async def _enter(
    connection: AsyncConnection,
    database: Database,
    places: Mapping[str, int],
    *,
    kind: WishKind,
    attributes: Mapping[str, Json],
    request_id: str,
    now: datetime,
) -> None:
    """Writes a wish into inboxes: its place in that of each execution, which must be locked."""
    await connection.execute(
        update(EXECUTION)
        .where(EXECUTION.c.execution_id.in_(places))
        .values(
            inbox_seq=EXECUTION.c.inbox_seq + 1,
            requested_transition=_transition(kind),
            wake_at=text(database.now_sql),
        )
    )
    wishes = [
        {
            "execution_id": execution_id,
            "inbox_seq": place,
            "kind": kind,
            "attributes": attributes,
            "request_id": request_id or None,
            "create_time": now,
        }
        for execution_id, place in places.items()
    ]
    await connection.execute(insert(EXECUTION_INBOX), wishes)


def _transition(kind: WishKind) -> ColumnElement[str]:
    """What the execution shows as asked for: a signal asks for none, and hides none."""
    if kind is not WishKind.SIGNAL:
        return literal(kind.value)
    unread = EXECUTION.c.inbox_seq > EXECUTION.c.inbox_folded
    return case((unread, EXECUTION.c.requested_transition), else_="")


def _full(execution_id: str) -> ResourceExhausted:
    return ResourceExhausted(
        Reason.QUOTA_EXCEEDED,
        f"executions/{execution_id} has {MAX_UNREAD} wishes that were not taken up yet, "
        "which is as many as it may",
        metadata={
            "resource": f"executions/{execution_id}",
            "quota": "unread_wishes",
            "limit": str(MAX_UNREAD),
        },
        retry_after=FULL_PAUSE,
    )


async def _recorded(
    connection: AsyncConnection,
    execution_id: str,
    request_id: str,
    kind: WishKind,
    attributes: Mapping[str, Json],
) -> bool:
    query = select(EXECUTION_INBOX.c.kind, EXECUTION_INBOX.c.attributes).where(
        EXECUTION_INBOX.c.execution_id == execution_id,
        EXECUTION_INBOX.c.request_id == request_id,
    )
    earlier = (await connection.execute(query)).one_or_none()
    if earlier is not None and (earlier.kind, earlier.attributes) != (kind, attributes):
        raise InvalidArgument(
            Reason.REQUEST_ID_REUSED,
            f"request id {request_id} was used for another wish",
            metadata={"request_id": request_id},
        )
    return earlier is not None
