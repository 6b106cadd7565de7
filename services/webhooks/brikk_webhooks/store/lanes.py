"""The two lanes of the queue, and the statements that go along their indexes."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from brikk_shared.batch import batch_source
from brikk_shared.database import Database
from brikk_webhooks.domain.webhook import WebhookState

SHARE: Final = {"webhook_uid": "text", "most": "bigint"}
"""Of how many an endpoint may give up."""


class Lane(StrEnum):
    """First attempts and retries wait apart; each value is the condition of the lane's index."""

    FIRST = "state = 1 AND attempts = 0"
    RETRY = "state = 1 AND attempts > 0"


def find_waiting(lane: Lane, database: Database) -> str:
    """Find the endpoints that have deliveries in a lane, the longest due first."""
    # Jumps along the lane's index from endpoint to endpoint: the length of a backlog costs nothing.
    # Materialised, because a plan that begins with the webhooks would look for the oldest delivery
    # of every endpoint once for each of them.
    return (
        "WITH RECURSIVE jump(uid) AS ("
        f" SELECT min(webhook_uid) FROM delivery WHERE {lane.value}"
        " UNION ALL"
        f" SELECT (SELECT min(webhook_uid) FROM delivery WHERE {lane.value}"
        "  AND webhook_uid > jump.uid)"
        " FROM jump WHERE jump.uid IS NOT NULL),"
        " oldest AS MATERIALIZED ("
        f" SELECT uid, (SELECT min(due_at) FROM delivery WHERE {lane.value}"
        "  AND webhook_uid = jump.uid) AS due_at"
        " FROM jump WHERE uid IS NOT NULL)"
        " SELECT o.uid, o.due_at, w.max_rate, w.max_in_flight, w.update_time, e.paced_until,"
        f" e.paused_until, e.failed_at, e.failures, (SELECT {database.now_sql}) AS now"
        f" FROM oldest o JOIN webhook w ON w.uid = o.uid AND w.state = {WebhookState.ACTIVE:d}"
        " LEFT JOIN endpoint e ON e.webhook_uid = o.uid"
        " WHERE o.due_at IS NOT NULL ORDER BY o.due_at"
    )


def take_due(lane: Lane, database: Database) -> str:
    """Claim what is due, of each endpoint in a batch of `SHARE` so many."""
    source = batch_source(database.dialect, SHARE)
    # The clock is read in a subquery: a volatile expression would keep the index from being used.
    due = (
        f"FROM delivery WHERE {lane.value} AND delivery.webhook_uid = b.webhook_uid"
        f" AND delivery.due_at <= (SELECT {database.now_sql}) ORDER BY delivery.due_at"
    )
    if database.dialect == "postgresql":
        # Rows are found again by their place, which no plan can get wrong; they are locked.
        place = "ctid"
        picked = (
            f"SELECT due.place FROM {source} CROSS JOIN LATERAL"
            f" (SELECT ctid AS place {due} LIMIT b.most FOR UPDATE SKIP LOCKED) AS due"
        )
    else:
        # SQLite has no LATERAL and its LIMIT takes no column, so each endpoint's are counted.
        place = "rowid"
        picked = (
            "SELECT place FROM (SELECT d.rowid AS place, b.most, row_number()"
            f" OVER (PARTITION BY d.webhook_uid ORDER BY d.due_at) AS number FROM {source}"
            f" JOIN delivery d ON d.rowid IN (SELECT rowid {due}"
            f" LIMIT (SELECT max(most) FROM {source}))) WHERE number <= most"
        )
    return (
        f"WITH picked AS MATERIALIZED ({picked})"
        f" UPDATE delivery SET claim = :claim, due_at = {database.now_sql} + :lease"
        f" FROM picked WHERE delivery.{place} = picked.place"
        " RETURNING delivery.webhook_uid, delivery.id, delivery.event_uid, delivery.attempts,"
        " delivery.attempts_before, delivery.create_time, delivery.ordering_key"
    )
