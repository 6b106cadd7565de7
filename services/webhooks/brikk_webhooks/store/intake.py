"""Taking events in: an event, and a delivery for each webhook it matches, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.ids import new_id
from brikk_webhooks.domain.cloudevent import CloudEvent, render
from brikk_webhooks.domain.ordering import ordering_value
from brikk_webhooks.domain.webhook import WebhookState, matches

_ORGANIZATION = {"organization": "text"}
_EVENT = {
    "uid": "text",
    "organization": "text",
    "id": "text",
    "type": "text",
    "subject": "text",
    "body": "bytes",
}
_DELIVERY = {
    "webhook_uid": "text",
    "id": "text",
    "event_uid": "text",
    "ordering_key": "text",
    "request_id": "text",
}


_Row: TypeAlias = dict[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Subscriber:
    uid: str
    event_types: Sequence[str]
    ordering_key: str


class Intake:
    """Writes what came in, with a fixed number of statements for any number of events."""

    def __init__(self, database: Database) -> None:
        self._dialect = dialect = database.dialect
        self._subscribers = text(
            "SELECT w.uid, w.organization, w.event_types, w.ordering_key FROM webhook w"
            f" JOIN {batch_source(dialect, _ORGANIZATION)} ON w.organization = b.organization"
            f" WHERE w.state <> {WebhookState.DISABLED:d}"
        )
        self._events = text(
            "INSERT INTO event (uid, organization, id, type, subject, body)"
            " SELECT uid, organization, id, type, subject, body"
            f" FROM {batch_source(dialect, _EVENT)}"
        )
        # The lock keeps a webhook from being deleted before its deliveries are there to be deleted
        # with it. SQLite has one writer anyway.
        lock = " FOR KEY SHARE OF w" if dialect == "postgresql" else ""
        self._deliveries = text(
            "INSERT INTO delivery (webhook_uid, id, event_uid, state, attempts, response_status,"
            " attempts_before, due_at, create_time, ordering_key, request_id)"
            " SELECT b.webhook_uid, b.id, b.event_uid, 1, 0, 0, 0, now, now, b.ordering_key,"
            " b.request_id"
            f" FROM {batch_source(dialect, _DELIVERY)} JOIN webhook w ON w.uid = b.webhook_uid"
            f" CROSS JOIN (SELECT {database.now_sql} AS now) AS clock{lock}"
        )

    async def take(self, connection: AsyncConnection, events: Sequence[CloudEvent]) -> int:
        """Keep the events that a webhook asked for; return how many deliveries that makes."""
        subscribers = await self._read_subscribers(connection, events)
        matched: dict[tuple[str, str], list[_Subscriber]] = {}
        event_rows: list[_Row] = []
        delivery_rows: list[_Row] = []
        for event in events:
            key = (event.organization, event.type)
            if key not in matched:
                matched[key] = [
                    subscriber
                    for subscriber in subscribers.get(event.organization, ())
                    if matches(subscriber.event_types, event.type)
                ]
            if not matched[key]:
                continue
            event_row = _event_row(event)
            event_rows.append(event_row)
            delivery_rows += [
                _delivery_row(event, event_row, subscriber) for subscriber in matched[key]
            ]
        if delivery_rows:
            await self._insert(connection, event_rows, delivery_rows)
        return len(delivery_rows)

    async def send(
        self, connection: AsyncConnection, webhook_uid: str, event: CloudEvent, *, request_id: str
    ) -> str:
        """Keep an event for one webhook, asked for or not; return the id of its delivery."""
        subscribers = await self._read_subscribers(connection, [event])
        [subscriber] = [each for each in subscribers[event.organization] if each.uid == webhook_uid]
        event_row = _event_row(event)
        row = _delivery_row(event, event_row, subscriber) | {"request_id": request_id or None}
        await self._insert(connection, [event_row], [row])
        return str(row["id"])

    async def _insert(
        self, connection: AsyncConnection, events: Sequence[_Row], deliveries: Sequence[_Row]
    ) -> None:
        await connection.execute(self._events, batch_params(self._dialect, _EVENT, events))
        await connection.execute(
            self._deliveries, batch_params(self._dialect, _DELIVERY, deliveries)
        )

    async def _read_subscribers(
        self, connection: AsyncConnection, events: Sequence[CloudEvent]
    ) -> dict[str, list[_Subscriber]]:
        rows = [{"organization": name} for name in {event.organization for event in events}]
        params = batch_params(self._dialect, _ORGANIZATION, rows)
        subscribers: dict[str, list[_Subscriber]] = {}
        for row in await connection.execute(self._subscribers, params):
            subscribers.setdefault(row.organization, []).append(
                _Subscriber(
                    uid=row.uid,
                    event_types=json.loads(row.event_types),
                    ordering_key=row.ordering_key,
                )
            )
        return subscribers


def _event_row(event: CloudEvent) -> _Row:
    return {
        "uid": new_id(),
        "organization": event.organization,
        "id": event.id,
        "type": event.type,
        "subject": event.subject,
        "body": render(event),
    }


def _delivery_row(event: CloudEvent, event_row: _Row, subscriber: _Subscriber) -> _Row:
    return {
        "webhook_uid": subscriber.uid,
        "id": f"msg_{new_id()}",
        "event_uid": event_row["uid"],
        "ordering_key": ordering_value(event, subscriber.ordering_key),
        "request_id": None,
    }
