"""Deliveries and their attempts as people read them, always of one organisation."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, ScalarSelect, Select, and_, literal_column, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.ids import first_id
from brikk_webhooks.domain.delivery import Attempt, Delivery, DeliveryState
from brikk_webhooks.store.tables import ATTEMPT, DELIVERY, EVENT, WEBHOOK

_MICROSECOND = timedelta(microseconds=1)
_SKEW = timedelta(hours=1)
"""How far the clocks of replicas and of the store may lie apart."""


async def get_delivery(
    connection: AsyncConnection, organization: str, webhook_id: str, delivery_id: str
) -> Delivery | None:
    """Return a delivery."""
    query = _deliveries(organization, webhook_id).where(DELIVERY.c.id == delivery_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _delivery(row)


async def list_deliveries(
    connection: AsyncConnection,
    organization: str,
    webhook_id: str,
    *,
    state: DeliveryState | None,
    before: str,
    limit: int,
) -> list[Delivery]:
    """Return deliveries of a webhook, newest first: those before `before`, if it is not empty."""
    query = _deliveries(organization, webhook_id).order_by(DELIVERY.c.id.desc()).limit(limit)
    if state is not None:
        # Written out: an index with a condition does not serve a parameter.
        query = query.where(DELIVERY.c.state == literal_column(f"{state:d}"))
    if before:
        query = query.where(DELIVERY.c.id < before)
    return [_delivery(row) for row in await connection.execute(query)]


async def delivery_exists(
    connection: AsyncConnection, organization: str, webhook_id: str, delivery_id: str
) -> bool:
    """Tell whether the webhook has this delivery."""
    query = select(DELIVERY.c.id).where(
        DELIVERY.c.webhook_uid == _uid(organization, webhook_id), DELIVERY.c.id == delivery_id
    )
    return (await connection.execute(query)).one_or_none() is not None


async def list_attempts(
    connection: AsyncConnection,
    organization: str,
    webhook_id: str,
    delivery_id: str,
    *,
    after: int,
    limit: int,
) -> list[Attempt]:
    """Return attempts of a delivery, oldest first: those with numbers past `after`."""
    query = (
        select(ATTEMPT)
        .where(
            ATTEMPT.c.webhook_uid == _uid(organization, webhook_id),
            ATTEMPT.c.delivery_id == delivery_id,
            ATTEMPT.c.number > after,
        )
        .order_by(ATTEMPT.c.number)
        .limit(limit)
    )
    return [_attempt(row) for row in await connection.execute(query)]


def in_window(start: datetime | None, end: datetime | None) -> ColumnElement[bool]:
    """Tell which deliveries were made from `start` on and before `end`."""
    conditions: list[ColumnElement[bool]] = [true()]
    # The ids begin with the time, so that only a part of the table is read; they come from the
    # clocks of replicas, which differ from the store's.
    if start is not None:
        conditions.append(DELIVERY.c.id >= f"msg_{first_id(start - _SKEW)}")
        conditions.append(DELIVERY.c.create_time >= start)
    if end is not None:
        conditions.append(DELIVERY.c.id < f"msg_{first_id(end + _SKEW)}")
        conditions.append(DELIVERY.c.create_time < end)
    return and_(*conditions)


def _deliveries(organization: str, webhook_id: str) -> Select[Any]:
    return (
        select(DELIVERY, EVENT.c.id.label("event_id"), EVENT.c.type, EVENT.c.subject)
        .join(EVENT, EVENT.c.uid == DELIVERY.c.event_uid)
        .where(DELIVERY.c.webhook_uid == _uid(organization, webhook_id))
    )


def _uid(organization: str, webhook_id: str) -> ScalarSelect[str]:
    """Find the webhook first: joined to it, PostgreSQL would sort all its deliveries for a page."""
    return (
        select(WEBHOOK.c.uid)
        .where(WEBHOOK.c.organization == organization, WEBHOOK.c.id == webhook_id)
        .scalar_subquery()
    )


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        event_id=row.event_id,
        event_type=row.type,
        subject=row.subject,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        response_status=row.response_status,
        create_time=row.create_time,
        next_attempt_time=row.due_at,
        end_time=row.end_time,
    )


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(
        number=row.number,
        start_time=row.start_time,
        latency=row.latency * _MICROSECOND,
        response_status=row.response_status,
        error=row.error,
    )
