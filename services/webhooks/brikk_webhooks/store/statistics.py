"""Deliveries and attempts counted from their rows."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_webhooks.domain.delivery import DeliveryState
from brikk_webhooks.domain.statistics import PERCENTILES, Statistics
from brikk_webhooks.store.deliveries import in_window
from brikk_webhooks.store.tables import ATTEMPT, DELIVERY

_MICROSECOND = timedelta(microseconds=1)


async def read_statistics(
    connection: AsyncConnection, webhook_uid: str, *, start: datetime, end: datetime
) -> Statistics:
    """Count the deliveries of a webhook that were made in a window, and their attempts."""
    window = (DELIVERY.c.webhook_uid == webhook_uid) & in_window(start, end)
    by_state = select(DELIVERY.c.state, func.count()).where(window).group_by(DELIVERY.c.state)
    deliveries = {DeliveryState(row[0]): row[1] for row in await connection.execute(by_state)}
    made = (
        select(ATTEMPT.c.response_status, ATTEMPT.c.latency)
        .join(
            DELIVERY,
            (DELIVERY.c.webhook_uid == ATTEMPT.c.webhook_uid)
            & (DELIVERY.c.id == ATTEMPT.c.delivery_id),
        )
        .where(window)
        .subquery()
    )
    by_status = select(made.c.response_status, func.count()).group_by(made.c.response_status)
    attempts = {
        row[0]: row[1]
        for row in await connection.execute(by_status.order_by(made.c.response_status))
    }
    total = sum(attempts.values())
    # The nearest rank: so many took no longer.
    places = {percentile: -(-total * percentile // 100) for percentile in PERCENTILES}
    ranked = select(
        made.c.latency, func.row_number().over(order_by=made.c.latency).label("place")
    ).subquery()
    query = select(ranked.c.place, ranked.c.latency).where(ranked.c.place.in_(places.values()))
    found = {row.place: row.latency for row in await connection.execute(query)}
    return Statistics(
        deliveries=deliveries,
        attempts=attempts,
        latencies={
            percentile: found[place] * _MICROSECOND
            for percentile, place in places.items()
            if place in found
        },
    )
