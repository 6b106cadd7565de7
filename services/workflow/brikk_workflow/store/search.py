"""Executions by what people know of them: newest first, along the index that fits the question."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Select,
    Text,
    cast,
    exists,
    func,
    not_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import Dialect, dialect_of
from brikk_shared.label_selector import Operator, Requirement
from brikk_shared.types import UtcDateTime
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.state import ExecutionStatus
from brikk_workflow.store.executions import get_executions
from brikk_workflow.store.tables import EXECUTION, EXECUTION_LABEL, NOT_SUCCEEDED

_MOST_HEADS = 20
"""Most values of a label that are looked up one by one."""
_COUNTED = 1000
"""Whether more than so many have what leads a search makes no difference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """From `since` on, and before `until`; None is no bound."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What must hold of the executions that are meant; what is empty asks for nothing."""

    execution_ids: frozenset[str] = frozenset()
    workflow_id: str = ""
    statuses: frozenset[ExecutionStatus] = frozenset()
    labels: tuple[Requirement, ...] = ()
    created: Span = Span()
    ended: Span = Span()


Lead: TypeAlias = Requirement | frozenset[ExecutionStatus] | Span | None
"""Along which index a search goes: that of a label, of states, of the time of their ends, or else
of names or of time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """Where an execution stands in the order of all: those accepted last come first."""

    create_time: datetime
    execution_id: str


async def find_executions(
    connection: AsyncConnection,
    organization: str,
    search: Search,
    *,
    after: Position | None,
    limit: int,
) -> list[ExecutionRecord]:
    """Returns executions that match, those that stand after a position."""
    positions = await find(connection, organization, search, after=after, limit=limit)
    ids = [each.execution_id for each in positions]
    records = {each.execution_id: each for each in await get_executions(connection, ids)}
    return [records[each] for each in ids]


async def find(
    connection: AsyncConnection,
    organization: str,
    search: Search,
    *,
    after: Position | None,
    limit: int,
) -> Sequence[Position]:
    """Returns where the executions that match stand, in their order."""
    lead = await choose_lead(connection, organization, search)
    query = pages(dialect_of(connection), organization, search, lead, after=after, limit=limit)
    return [
        Position(create_time=row.create_time, execution_id=row.execution_id)
        for row in await connection.execute(query)
    ]


async def count(connection: AsyncConnection, organization: str, search: Search) -> int:
    """Returns how many executions match."""
    lead = await choose_lead(connection, organization, search)
    heads = _heads(dialect_of(connection), organization, search, lead)
    matches = union_all(*heads).subquery()
    return (await connection.execute(select(func.count()).select_from(matches))).scalar_one()


async def missing(
    connection: AsyncConnection, organization: str, execution_ids: Collection[str]
) -> Collection[str]:
    """Returns which of some ids are of no execution of the organisation."""
    query = select(EXECUTION.c.execution_id).where(
        EXECUTION.c.organization == organization, EXECUTION.c.execution_id.in_(execution_ids)
    )
    return set(execution_ids).difference((await connection.execute(query)).scalars())


async def choose_lead(connection: AsyncConnection, organization: str, search: Search) -> Lead:
    """Returns along what to look: what fewest have, as far as that is soon counted."""
    if search.execution_ids:
        return None
    leads: list[Lead] = [
        each
        for each in search.labels
        if each.operator is Operator.IN and len(each.values) <= _MOST_HEADS
    ]
    if search.statuses and ExecutionStatus.SUCCEEDED not in search.statuses:
        leads.append(search.statuses)
    if search.workflow_id or not leads:
        leads.append(None)
    if search.ended.since is not None:
        leads.append(search.ended)
    if len(leads) == 1:
        return leads[0]
    counts = [
        select(func.count())
        .select_from(_having(organization, search, lead).limit(_COUNTED).subquery())
        .scalar_subquery()
        for lead in leads
    ]
    sizes = (await connection.execute(select(*counts))).one()
    return leads[min(range(len(leads)), key=sizes.__getitem__)]


def pages(
    dialect: Dialect,
    organization: str,
    search: Search,
    lead: Lead,
    *,
    after: Position | None,
    limit: int,
) -> Select[Any]:
    """Returns the query for positions: an index gives each of its heads in their order."""
    heads = [
        select(
            head.order_by(head.selected_columns[0].desc(), head.selected_columns[1].desc())
            .limit(limit)
            .subquery()
        )
        for head in _heads(dialect, organization, search, lead, after=after)
    ]
    found = union_all(*heads).subquery()
    return (
        select(found.c.create_time, found.c.execution_id)
        .order_by(found.c.create_time.desc(), found.c.execution_id.desc())
        .limit(limit)
    )


def _having(organization: str, search: Search, lead: Lead) -> Select[Any]:
    if isinstance(lead, Requirement):
        return select(EXECUTION_LABEL.c.execution_id).where(
            EXECUTION_LABEL.c.organization == organization,
            EXECUTION_LABEL.c.key == lead.key,
            EXECUTION_LABEL.c.value.in_(sorted(lead.values)),
        )
    having = select(EXECUTION.c.execution_id).where(EXECUTION.c.organization == organization)
    if isinstance(lead, Span):
        return having.where(*_in_ended(lead))
    if lead is None:
        named = EXECUTION.c.workflow_id == search.workflow_id
        return having.where(named) if search.workflow_id else having
    return having.where(EXECUTION.c.status.in_(sorted(lead)), NOT_SUCCEEDED)


def _heads(
    dialect: Dialect,
    organization: str,
    search: Search,
    lead: Lead,
    *,
    after: Position | None = None,
) -> Iterator[Select[Any]]:
    """Yields queries that together find all that match, each once: one for a value of the lead.

    What else is asked is looked up in the row.
    """
    rest = list(_of_row(dialect, search, lead))
    if not isinstance(lead, Requirement):
        row = EXECUTION.c
        found = select(row.create_time, row.execution_id).where(
            row.organization == organization,
            *_in_span(row.create_time, row.execution_id, search, after),
            *rest,
        )
        if isinstance(lead, Span):
            # Sorted once they are all there, or the index that sorts them would be preferred.
            ended = found.cte("ended").prefix_with("MATERIALIZED")
            yield select(ended.c.create_time, ended.c.execution_id)
            return
        if lead is None:
            yield found
        for status in sorted(lead or ()):
            yield found.where(row.status == status, NOT_SUCCEEDED)
        return
    label = EXECUTION_LABEL.c
    for value in sorted(lead.values):
        yield (
            select(label.create_time, label.execution_id)
            .join(EXECUTION, EXECUTION.c.execution_id == label.execution_id)
            .where(
                label.organization == organization,
                label.key == lead.key,
                label.value == value,
                *_in_span(label.create_time, label.execution_id, search, after),
                *rest,
            )
        )


def _in_span(
    create_time: Column[Any], execution_id: Column[Any], search: Search, after: Position | None
) -> Iterator[ColumnElement[bool]]:
    created, ended = search.created, search.ended
    if created.since is not None:
        yield create_time >= created.since
    # What had ended by then had begun, too.
    for until in (created.until, ended.until):
        if until is not None:
            yield create_time < until
    if after is not None:
        yield tuple_(create_time, execution_id) < tuple_(
            after.create_time, after.execution_id, types=[UtcDateTime(), Text()]
        )


def _of_row(dialect: Dialect, search: Search, lead: Lead) -> Iterator[ColumnElement[bool]]:
    row, ended = EXECUTION.c, search.ended
    if search.statuses and lead != search.statuses:
        yield row.status.in_(sorted(search.statuses))
    if search.execution_ids:
        yield row.execution_id.in_(sorted(search.execution_ids))
    if search.workflow_id:
        yield row.workflow_id == search.workflow_id
    yield from _in_ended(ended)
    for requirement in search.labels:
        if requirement != lead:
            yield _of_labels(dialect, requirement)


def _in_ended(ended: Span) -> Iterator[ColumnElement[bool]]:
    if ended.since is not None:
        yield EXECUTION.c.end_time >= ended.since
    if ended.until is not None:
        yield EXECUTION.c.end_time < ended.until


def _of_labels(dialect: Dialect, requirement: Requirement) -> ColumnElement[bool]:
    labels = EXECUTION.c.labels
    members = (
        func.json_each(labels) if dialect == "sqlite" else func.json_each_text(cast(labels, JSON))
    )
    member = members.table_valued("key", "value")
    found = exists().select_from(member).where(member.c.key == requirement.key)
    if requirement.operator in (Operator.IN, Operator.NOT_IN):
        found = found.where(member.c.value.in_(sorted(requirement.values)))
    negative = requirement.operator in (Operator.NOT_IN, Operator.ABSENT)
    return not_(found) if negative else found
