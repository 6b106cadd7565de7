"""Taking events in: an event, and a delivery for each webhook it matches, in one transaction."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.ids import new_id
from brikk_webhooks.domain.cloudevent import CloudEvent, PayloadMode, render
from brikk_webhooks.domain.ordering import ordering_value
from brikk_webhooks.domain.selection import FilterFailed, in_channel, matches, passes, scope_of
from brikk_webhooks.domain.webhook import WebhookState
from brikk_webhooks.store.endpoints import Endpoints
from brikk_webhooks.store.ordering import pending_before

_ORGANIZATION = {"organization": "text"}
_FAILURES = {"webhook_uid": "text", "failures": "bigint"}
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
    "held": "bool",
}

_AT_ONCE = 20
"""Filters that are tried before others get their turns."""
_MOST_JUDGED = 10_000
"""Filters that are tried in one transaction: each may take a quarter of a millisecond."""

Row: TypeAlias = dict[str, object]
"""Values by column, of a row to be written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """How many events were taken, from the first one on, and what came of them."""

    events: int
    deliveries: int
    filter_failures: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Subscriber:
    uid: str
    event_types: Sequence[str]
    filter: str
    channels: Sequence[str]
    payload_mode: PayloadMode
    ordering_key: str

    @property
    def chooses(self) -> bool:
        """Whether the type of an event alone does not tell if it wants it."""
        return bool(self.filter or self.channels)


class Intake:
    """Writes what came in, with a fixed number of statements for any number of events."""

    def __init__(self, database: Database) -> None:
        self._dialect = dialect = database.dialect
        self._endpoints = Endpoints(database)
        self._subscribers = text(
            "SELECT w.uid, w.organization, w.event_types, w.filter, w.channels, w.payload_mode,"
            " w.ordering_key FROM webhook w"
            f" JOIN {batch_source(dialect, _ORGANIZATION)} ON w.organization = b.organization"
            f" WHERE w.state <> {WebhookState.DISABLED:d}"
        )
        self._events = text(
            "INSERT INTO event (uid, organization, id, type, subject, body)"
            " SELECT uid, organization, id, type, subject, body"
            f" FROM {batch_source(dialect, _EVENT)}"
        )
        # Locked in one order, as batches of several producers come at once.
        lock = " FOR NO KEY UPDATE OF w" if dialect == "postgresql" else ""
        self._failures = text(
            "WITH failed AS (SELECT w.uid, b.failures FROM webhook w"
            f" JOIN {batch_source(dialect, _FAILURES)} ON w.uid = b.webhook_uid"
            f" ORDER BY w.uid{lock})"
            " UPDATE webhook SET filter_failures = webhook.filter_failures + failed.failures"
            " FROM failed WHERE webhook.uid = failed.uid"
        )
        # The lock keeps a webhook from being deleted before its deliveries are there to be deleted
        # with it. SQLite has one writer anyway.
        lock = " FOR KEY SHARE OF w" if dialect == "postgresql" else ""
        self._deliveries = text(
            "INSERT INTO delivery (webhook_uid, id, event_uid, state, attempts, response_status,"
            " attempts_before, due_at, create_time, ordering_key)"
            " SELECT b.webhook_uid, b.id, b.event_uid, 1, 0, 0, 0,"
            " CASE WHEN b.ordering_key IS NULL THEN now"
            f" WHEN NOT b.held AND NOT {pending_before('b')} THEN now END, now, b.ordering_key"
            f" FROM {batch_source(dialect, _DELIVERY)} JOIN webhook w ON w.uid = b.webhook_uid"
            f" CROSS JOIN (SELECT {database.now_sql} AS now) AS clock{lock}"
        )

    async def take(self, connection: AsyncConnection, events: Sequence[CloudEvent]) -> Taken:
        """Keep the events that a webhook asked for, as many as can be judged in a short time."""
        subscribers = await self._read_subscribers(connection, events)
        of_type: dict[tuple[str, str], list[_Subscriber]] = {}
        kept: list[Row] = []
        made: list[Row] = []
        failures: Counter[str] = Counter()
        taken = judged = 0
        for event in events:
            taken += 1
            key = (event.organization, event.type)
            if key not in of_type:
                of_type[key] = [
                    subscriber
                    for subscriber in subscribers.get(event.organization, ())
                    if matches(subscriber.event_types, event.type)
                ]
            wanted = of_type[key]
            if any(subscriber.chooses for subscriber in wanted):
                judged += len(wanted)
                wanted = await _chosen(event, wanted, failures)
            uids: dict[PayloadMode, str] = {}
            for subscriber in wanted:
                mode = subscriber.payload_mode
                if mode not in uids:
                    uids[mode] = new_id()
                    kept.append(_event_row(uids[mode], event, mode))
                order = ordering_value(event, subscriber.ordering_key)
                made.append(delivery_row(subscriber.uid, uids[mode], order))
            if judged >= _MOST_JUDGED:
                break
        if failures:
            rows = [{"webhook_uid": uid, "failures": count} for uid, count in failures.items()]
            params = batch_params(self._dialect, _FAILURES, rows)
            await connection.execute(self._failures, params)
        if made:
            await connection.execute(self._events, batch_params(self._dialect, _EVENT, kept))
            await self.enqueue(connection, made)
        return Taken(events=taken, deliveries=len(made), filter_failures=failures.total())

    async def send(
        self, connection: AsyncConnection, webhook_uid: str, event: CloudEvent, *, mode: PayloadMode
    ) -> str:
        """Keep an event for one webhook, asked for or not; return the id of its delivery."""
        uid = new_id()
        row = _event_row(uid, event, mode)
        await connection.execute(self._events, batch_params(self._dialect, _EVENT, [row]))
        delivery = delivery_row(webhook_uid, uid, None)
        await self.enqueue(connection, [delivery])
        return str(delivery["id"])

    async def enqueue(self, connection: AsyncConnection, deliveries: Sequence[Row]) -> None:
        """Have deliveries attempted as soon as may be, or as their order says.

        They are made by `delivery_row`.
        """
        ordered = [row for row in deliveries if row["ordering_key"] is not None]
        if ordered:
            await self._endpoints.lock(connection, {str(row["webhook_uid"]) for row in ordered})
            # A batch does not see its own rows.
            before: set[tuple[object, object]] = set()
            for row in ordered:
                key = (row["webhook_uid"], row["ordering_key"])
                row["held"] = key in before
                before.add(key)
        params = batch_params(self._dialect, _DELIVERY, deliveries)
        await connection.execute(self._deliveries, params)

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
                    filter=row.filter,
                    channels=json.loads(row.channels),
                    payload_mode=PayloadMode(row.payload_mode),
                    ordering_key=row.ordering_key,
                )
            )
        return subscribers


def delivery_row(webhook_uid: str, event_uid: str, ordering_key: str | None) -> Row:
    """Make the row of a new delivery, of an event that is kept."""
    return {
        "webhook_uid": webhook_uid,
        "id": f"msg_{new_id()}",
        "event_uid": event_uid,
        "ordering_key": ordering_key,
        "held": False,
    }


async def _chosen(
    event: CloudEvent, subscribers: Sequence[_Subscriber], failures: Counter[str]
) -> list[_Subscriber]:
    """Return those whose channels and filters the event passes, leaving others their turns.

    Filters that fail on it are counted by webhook.
    """
    scope = scope_of(event)
    chosen = []
    for number, subscriber in enumerate(subscribers):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
        if not in_channel(subscriber.channels, event.data):
            continue
        try:
            if not subscriber.filter or passes(subscriber.filter, scope):
                chosen.append(subscriber)
        except FilterFailed:
            failures[subscriber.uid] += 1
    return chosen


def _event_row(uid: str, event: CloudEvent, mode: PayloadMode) -> Row:
    return {
        "uid": uid,
        "organization": event.organization,
        "id": event.id,
        "type": event.type,
        "subject": event.subject,
        "body": render(event, mode),
    }
