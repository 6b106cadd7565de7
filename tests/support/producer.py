"""A service with an outbox to one destination, and its relay, on a clock that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from prometheus_client import CollectorRegistry
from sqlalchemy import text

from brikk.event.v1.event_pb2 import Event
from brikk_shared.database import Database
from brikk_shared.leases import Leases
from brikk_shared.outbox import Outbox
from brikk_shared.relay import Relay, RelayMetrics
from brikk_shared.testing import ManualClock
from support.inbox import Inbox
from support.running import running

# A relay at rest has so many sleepers on the clock: two guards of its lease, the gauges, and its
# own wait for news or for the next attempt.
AT_REST = 4


class Producer:
    """The workflow service, as far as it sends events to `webhooks`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock()
        self.outbox = Outbox(database, source="brikk.workflow", destinations=("webhooks",))
        self._registry = CollectorRegistry()
        self._metrics = RelayMetrics(self._registry)

    @asynccontextmanager
    async def relay(
        self, inbox: Inbox, owner: str = "one", *, gathering: timedelta = timedelta(0)
    ) -> AsyncIterator[None]:
        """Run a relay to the inbox, as the process called `owner`."""
        relay = Relay(
            self.database,
            Leases(self.database, owner, self.clock),
            self.outbox,
            producer="workflow",
            destination="webhooks",
            publish=inbox.publish,
            metrics=self._metrics,
            clock=self.clock,
            gathering=gathering,
        )
        async with running(relay.run):
            yield

    async def add(self, *events: Event) -> None:
        """Commit events, and wake the relay."""
        async with self.database.transaction() as connection:
            await self.outbox.add(connection, events)
        self.outbox.wake()

    async def rest(self) -> None:
        """Wait until the relay has nothing to do, or waits for its next attempt."""
        await self.clock.sleeping(AT_REST)

    async def waiting(self) -> int:
        """How many events lie in the outbox."""
        async with self.database.reading() as connection:
            count: int = (
                await connection.execute(text("SELECT count(*) FROM outbox"))
            ).scalar_one()
            return count

    def sample(self, name: str) -> float | None:
        """Read a metric of the relay."""
        return self._registry.get_sample_value(name, {"destination": "webhooks"})
