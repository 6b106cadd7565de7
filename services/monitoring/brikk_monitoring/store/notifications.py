"""Notifications: those that are decided, and how they are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Text, select, text, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_monitoring.domain.notification import Notification, NotificationState
from brikk_monitoring.store.tables import NOTIFICATION
from brikk_shared.batch import batch_params, batch_source, dialect_of
from brikk_shared.types import to_json

_COLUMNS: Final = {
    "id": "text",
    "organization": "text",
    "channel": "text",
    "state": "bigint",
    "reason": "text",
    "group_uid": "text",
    "group_labels": "text",
    "level": "bigint",
    "firing": "text",
    "resolved": "text",
    "dedup_key": "text",
    "attempts": "bigint",
    "create_time": "timestamp",
    "next_attempt_at": "timestamp",
    "ended_at": "timestamp",
}


async def add_notifications(
    connection: AsyncConnection, notifications: Sequence[Notification]
) -> None:
    """Keep notifications that were decided."""
    if not notifications:
        return
    dialect, names = dialect_of(connection), ", ".join(_COLUMNS)
    insert = text(
        f"INSERT INTO notification ({names}) SELECT {', '.join(f'b.{name}' for name in _COLUMNS)}"
        f" FROM {batch_source(dialect, _COLUMNS)}"
    )
    rows = [_values(each) for each in notifications]
    await connection.execute(insert, batch_params(dialect, _COLUMNS, rows))


async def find_notifications(
    connection: AsyncConnection,
    organization: str,
    *,
    states: Sequence[NotificationState],
    channel: str,
    alert_id: str,
    before: str,
    limit: int,
) -> list[Notification]:
    """Return notifications, the newest first, those before `before`."""
    wanted: list[ColumnElement[bool]] = [NOTIFICATION.c.organization == organization]
    if states:
        wanted.append(NOTIFICATION.c.state.in_([state.value for state in states]))
    if channel:
        wanted.append(NOTIFICATION.c.channel == channel)
    if alert_id:
        # Ids are letters and digits, so none stands within another between quotes.
        firing, resolved = NOTIFICATION.c.firing, NOTIFICATION.c.resolved
        named = type_coerce(firing, Text).concat(type_coerce(resolved, Text))
        wanted.append(named.contains(f'"{alert_id}"', autoescape=True))
    if before:
        wanted.append(NOTIFICATION.c.id < before)
    query = select(NOTIFICATION).where(*wanted).order_by(NOTIFICATION.c.id.desc()).limit(limit)
    return [_notification(row) for row in await connection.execute(query)]


def _values(notification: Notification) -> dict[str, object]:
    return {
        **{name: getattr(notification, name) for name in _COLUMNS},
        "state": notification.state.value,
        "group_labels": to_json(dict(notification.group_labels)),
        "firing": to_json(list(notification.firing)),
        "resolved": to_json(list(notification.resolved)),
    }


def _notification(row: Row[Any]) -> Notification:
    return Notification(
        **{
            **{name: getattr(row, name) for name in _COLUMNS},
            "state": NotificationState(row.state),
            "firing": tuple(row.firing),
            "resolved": tuple(row.resolved),
        }
    )
