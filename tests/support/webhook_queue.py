"""The store of the webhooks service, with what a test puts into its queue and takes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import text

from brikk.event.v1.event_pb2 import Event
from brikk_shared.database import Database
from brikk_shared.ids import new_id
from brikk_shared.outbox import Outbox
from brikk_webhooks.domain.cloudevent import CloudEvent
from brikk_webhooks.domain.delivery import Attempt, Outcome, Verdict
from brikk_webhooks.domain.dispatch import Claim, Report
from brikk_webhooks.domain.signing import Scheme
from brikk_webhooks.domain.webhook import SigningKey, Subscription, Webhook
from brikk_webhooks.store.attempts import AttemptLog
from brikk_webhooks.store.intake import Intake
from brikk_webhooks.store.lanes import Lane
from brikk_webhooks.store.queue import Queue
from brikk_webhooks.store.signing_keys import NewKey
from brikk_webhooks.store.webhooks import Registration, create_webhook

LEASE: Final = timedelta(seconds=30)
EXPIRED: Final = timedelta(0)
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
EVENT: Final = CloudEvent(
    id="e1",
    source="brikk.workflow",
    type="brikk.execution.succeeded.v1",
    subject="executions/x1",
    time=NOW,
    organization="acme",
    sequence=1,
    traceparent="",
    data={"workflow": "triage"},
)
DELIVERED: Final = Verdict(outcome=Outcome.DELIVERED)
FAILED: Final = Verdict(outcome=Outcome.FAILED, error="answered 500")


def retry(delay: timedelta) -> Verdict:
    """To be attempted again after a delay."""
    return Verdict(outcome=Outcome.RETRY, error="answered 500", delay=delay)


def report(claim: Claim, verdict: Verdict) -> Report:
    """An attempt that came to this."""
    attempt = Attempt(
        number=claim.attempt,
        start_time=NOW,
        latency=timedelta(milliseconds=20),
        response_status=200 if verdict is DELIVERED else 500,
        error=verdict.error,
    )
    return Report(claim=claim, attempt=attempt, verdict=verdict)


class QueueStore:
    """Fills the queue, claims from it and ends what was claimed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.queue = Queue(database)
        self.intake = Intake(database)
        self.outbox = Outbox(database, source="brikk.webhooks", destinations=("monitoring",))
        self._log = AttemptLog(database, self.outbox)

    async def add_webhook(self, webhook_id: str, *event_types: str, **bounds: Any) -> str:
        """Adds a webhook, with bounds and an order if given; gives the uid of this life of it."""
        key = SigningKey(version=1, scheme=Scheme.V1, public_key="")
        registration = Registration(
            uid=new_id(),
            webhook=Webhook(
                id=webhook_id,
                subscription=Subscription(
                    url="http://127.0.0.1/",
                    event_types=event_types or ("*",),
                    retry_schedule=(timedelta(milliseconds=1500),),
                    **bounds,
                ),
                create_time=NOW,
                update_time=NOW,
                signing_keys=(key,),
            ),
            keys=[NewKey(key=key, sealed=b"\x01\x02k1sealed")],
            request_id="",
            request_digest=b"",
        )
        async with self.database.transaction() as connection:
            await create_webhook(connection, "acme", registration, quota=500)
        return registration.uid

    async def publish(
        self, count: int, *, event_type: str = EVENT.type, subject: str = EVENT.subject
    ) -> None:
        """Takes in so many events at once."""
        event = replace(EVENT, type=event_type, subject=subject)
        async with self.database.transaction() as connection:
            await self.intake.take(connection, [event] * count)

    async def claim(
        self, *uids: str, most: int = 100, lane: Lane = Lane.FIRST, lease: timedelta = LEASE
    ) -> list[Claim]:
        """Claims up to `most` of each of these webhooks."""
        return await self.claim_shares(dict.fromkeys(uids, most), lane=lane, lease=lease)

    async def claim_shares(
        self, shares: dict[str, int], *, lane: Lane = Lane.FIRST, lease: timedelta = LEASE
    ) -> list[Claim]:
        """Claims up to its share of each webhook."""
        catch = await self.queue.claim(lane, lambda _: shares, claim=new_id(), lease=lease)
        return list(catch.claims)

    async def finish(self, claims: Sequence[Claim], verdict: Verdict) -> list[bool]:
        """Logs an attempt of each; tells for which the claim still held."""
        return await self.log([report(claim, verdict) for claim in claims])

    async def log(self, reports: Sequence[Report]) -> list[bool]:
        """Logs attempts; tells for which the claim still held."""
        async with self.database.transaction() as connection:
            return [bool(each) for each in await self._log.write(connection, reports)]

    async def announced(self) -> list[Event]:
        """Gives what lies in the outbox, in order."""
        async with self.database.reading() as connection:
            rows = await connection.execute(text("SELECT payload FROM outbox ORDER BY id"))
            return [Event.FromString(payload) for payload in rows.scalars()]

    async def waiting(self, lane: Lane = Lane.FIRST) -> dict[str, timedelta]:
        """Tells whose deliveries wait and for how long yet, the longest due first."""
        catch = await self.queue.claim(lane, lambda _: {}, claim=new_id(), lease=LEASE)
        assert not catch.claims
        return {each.webhook_uid: each.due_in for each in catch.waiting}
