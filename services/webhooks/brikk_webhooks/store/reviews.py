"""What becomes of endpoints that fail: people are told, and the webhooks of hopeless ones disabled.

The events go to monitoring alone: told to webhooks, those of a failing endpoint would feed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.event import make_event
from brikk_shared.outbox import Outbox
from brikk_webhooks.domain.health import Change, Health
from brikk_webhooks.domain.webhook import WebhookState
from brikk_webhooks.store.endpoints import Endpoints
from brikk_webhooks.store.ordering import Ordering
from brikk_webhooks.store.tables import WEBHOOK
from brikk_webhooks.store.webhooks import change_webhook, lock_webhook

_SOURCE = "brikk.webhooks"
_BATCH = 100
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A webhook whose endpoint is to be looked at."""

    uid: str
    organization: str
    webhook_id: str


class Reviews:
    """Finds cases and settles them, each in a transaction of its own.

    Args:
        patience: for how long an endpoint may fail.
    """

    def __init__(
        self, database: Database, outbox: Outbox, *, patience: timedelta, clock: Clock
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._patience = patience
        self._clock = clock
        self._endpoints = Endpoints(database)
        self._ordering = Ordering(database)
        self._find = text(
            "SELECT w.uid, w.organization, w.id AS webhook_id FROM endpoint e"
            " JOIN webhook w ON w.uid = e.webhook_uid WHERE w.uid > :after"
            " AND (e.failing <> e.announced"
            f" OR w.state <> {WebhookState.DISABLED:d} AND e.failed_at >= w.update_time"
            " AND (e.gone OR e.failed_at - e.failing_since >= :patience))"
            f" ORDER BY w.uid LIMIT {_BATCH}"
        )

    async def find(self, *, after: str) -> Sequence[Case]:
        """Give the next cases, by uid.

        Raises:
            Unavailable: the store does not answer.
        """
        params = {"after": after, "patience": self._patience // _MICROSECOND}
        async with self._database.reading() as connection:
            return [Case(**row._mapping) for row in await connection.execute(self._find, params)]

    async def settle(self, case: Case) -> bool:
        """Disable the webhook, or tell people how its endpoint fares; tell if it was disabled.

        Raises:
            Unavailable: the store does not answer.
        """
        async with self._database.transaction(audit=()) as connection:
            locked = await lock_webhook(connection, case.organization, case.webhook_id)
            if locked is None or locked[0] != case.uid:
                return False
            _, webhook = locked
            endpoint = (await self._endpoints.lock(connection, [case.uid])).endpoints[case.uid]
            health = endpoint.health
            reason = health.since(webhook.update_time).hopeless(patience=self._patience)
            if reason and webhook.state is not WebhookState.DISABLED:
                change = Change.DISABLED
                disabled = webhook.disabled(reason, self._clock.now())
                await change_webhook(connection, case.uid, disabled)
                # Whoever enables it again finds its endpoint as new.
                endpoint = replace(endpoint, health=Health(), announced=False)
            elif health.failing != endpoint.announced:
                change = Change.FAILING if health.failing else Change.RECOVERED
                endpoint = replace(endpoint, announced=health.failing)
            else:
                return False
            await self._endpoints.write(connection, {case.uid: endpoint})
            await self._announce(connection, case, change, health, reason)
        self._outbox.wake()
        return change is Change.DISABLED

    async def mend_orders(self) -> None:
        """Let deliveries go that wait for nothing.

        Raises:
            Unavailable: the store does not answer.
        """
        async with self._database.transaction(audit=()) as connection:
            await self._ordering.mend(connection)

    async def _announce(
        self,
        connection: AsyncConnection,
        case: Case,
        change: Change,
        health: Health,
        reason: str,
    ) -> None:
        count = (
            update(WEBHOOK)
            .where(WEBHOOK.c.uid == case.uid)
            .values(announcements=WEBHOOK.c.announcements + 1)
            .returning(WEBHOOK.c.announcements)
        )
        data: dict[str, object] = {"failures": health.failures}
        if health.failing_since is not None:
            data["failing_since"] = health.failing_since.isoformat()
        if reason:
            data["reason"] = reason
        event = make_event(
            source=_SOURCE,
            type=f"brikk.webhook.{change}.v1",
            subject=f"webhooks/{case.webhook_id}",
            organization=case.organization,
            sequence=(await connection.execute(count)).scalar_one(),
            time=self._clock.now(),
            data=data,
        )
        await self._outbox.add(connection, [event])
