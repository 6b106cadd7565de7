"""How attempts end: each is logged and moves its delivery on, many in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.event.v1.event_pb2 import Event
from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.errors import BrikkError
from brikk_shared.event import make_event
from brikk_shared.outbox import Outbox
from brikk_webhooks.domain.delivery import DeliveryState, Outcome
from brikk_webhooks.domain.dispatch import Report
from brikk_webhooks.store.endpoints import Endpoint, Endpoints, Locked
from brikk_webhooks.store.ordering import Ordering

_MICROSECOND = timedelta(microseconds=1)

_COLUMNS = {
    "webhook_uid": "text",
    "delivery_id": "text",
    "claim": "text",
    "state": "bigint",
    "delay": "bigint",
    "number": "bigint",
    "start_time": "timestamp",
    "latency": "bigint",
    "response_status": "bigint",
    "error": "text",
}
_STATE_AFTER = {
    Outcome.DELIVERED: DeliveryState.DELIVERED,
    Outcome.RETRY: DeliveryState.PENDING,
    Outcome.FAILED: DeliveryState.FAILED,
}


_SOURCE = "brikk.webhooks"
_TYPE_AFTER = {
    Outcome.DELIVERED: "brikk.delivery.succeeded.v1",
    Outcome.RETRY: "brikk.delivery.retrying.v1",
    Outcome.FAILED: "brikk.delivery.failed.v1",
}


class AttemptLog:
    """Writes reports of attempts, at most one of a delivery at a time, and announces them."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._outbox = outbox
        self._dialect = database.dialect
        self._endpoints = Endpoints(database)
        self._ordering = Ordering(database)
        source = batch_source(self._dialect, _COLUMNS)
        self._end = text(
            "UPDATE delivery SET state = b.state, attempts = b.number,"
            " response_status = b.response_status, claim = NULL,"
            f" due_at = CASE WHEN b.state = 1 THEN {database.now_sql} + b.delay END,"
            f" end_time = CASE WHEN b.state <> 1 THEN {database.now_sql} END FROM {source}"
            " WHERE delivery.webhook_uid = b.webhook_uid AND delivery.id = b.delivery_id"
            " AND delivery.claim = b.claim RETURNING delivery.id"
        )
        logged = "webhook_uid, delivery_id, number, start_time, latency, response_status, error"
        self._log = text(f"INSERT INTO attempt ({logged}) SELECT {logged} FROM {source}")

    async def write(
        self, connection: AsyncConnection, reports: Sequence[Report]
    ) -> list[bool | BrikkError]:
        """Log attempts and move their deliveries on, in the transaction under way.

        A report is answered False, and nothing of it is written, when its claim is no longer held:
        the lease ran out and somebody else took over, or the webhook was deleted.
        """
        uids = {report.claim.webhook_uid for report in reports if _concerns_endpoint(report)}
        locked = await self._endpoints.lock(connection, uids) if uids else None
        rows = [_row(report) for report in reports]
        ended = await connection.execute(self._end, batch_params(self._dialect, _COLUMNS, rows))
        held = set(ended.scalars())
        logged = [row for row in rows if row["delivery_id"] in held]
        counted = [report for report in reports if report.claim.delivery_id in held]
        if logged:
            await connection.execute(self._log, batch_params(self._dialect, _COLUMNS, logged))
            await self._outbox.add(connection, [_event(report) for report in counted])
        if locked is not None:
            await self._endpoints.write(connection, _judged(counted, locked))
            await self._let_go(connection, counted)
        return [report.claim.delivery_id in held for report in reports]

    async def _let_go(self, connection: AsyncConnection, reports: Sequence[Report]) -> None:
        """Make due what waited for the end of deliveries before it."""
        keys = {
            (report.claim.webhook_uid, report.claim.ordering_key)
            for report in reports
            if report.claim.ordering_key is not None and report.verdict.outcome is not Outcome.RETRY
        }
        if keys:
            await self._ordering.let_go(connection, sorted(keys))


def _concerns_endpoint(report: Report) -> bool:
    """Tell whether a report says more of its endpoint than that it goes on working."""
    claim = report.claim
    return (
        report.verdict.outcome is not Outcome.DELIVERED
        or claim.probe
        or claim.target.failing
        or claim.ordering_key is not None
    )


def _judged(reports: Sequence[Report], locked: Locked) -> dict[str, Endpoint]:
    """Return the endpoints that fare differently now."""
    changed: dict[str, Endpoint] = {}
    for report in reports:
        uid = report.claim.webhook_uid
        endpoint = changed.get(uid) or locked.endpoints.get(uid)
        if endpoint is None:
            continue
        health = endpoint.health.after(report.verdict, probe=report.claim.probe, now=locked.now)
        if health != endpoint.health:
            changed[uid] = replace(endpoint, health=health)
    return changed


def _event(report: Report) -> Event:
    claim, attempt = report.claim, report.attempt
    webhook = f"webhooks/{claim.target.webhook_id}"
    data: dict[str, object] = {
        "webhook": webhook,
        "attempt": attempt.number,
        "duration_ms": attempt.latency.total_seconds() * 1000,
    }
    if attempt.response_status:
        data["response_status"] = attempt.response_status
    return make_event(
        source=_SOURCE,
        type=_TYPE_AFTER[report.verdict.outcome],
        subject=f"{webhook}/deliveries/{claim.delivery_id}",
        organization=claim.target.organization,
        sequence=attempt.number,
        time=attempt.start_time + attempt.latency,
        data=data,
    )


def _row(report: Report) -> dict[str, object]:
    claim, attempt, verdict = report.claim, report.attempt, report.verdict
    return {
        "webhook_uid": claim.webhook_uid,
        "delivery_id": claim.delivery_id,
        "claim": claim.claim,
        "state": _STATE_AFTER[verdict.outcome],
        "delay": verdict.delay // _MICROSECOND,
        "number": attempt.number,
        "start_time": attempt.start_time,
        "latency": attempt.latency // _MICROSECOND,
        "response_status": attempt.response_status,
        "error": attempt.error,
    }
