"""The events of discovery, on their way into the outbox."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.event.v1.event_pb2 import Event
from brikk_discovery.domain.fact import Fact
from brikk_shared.event import make_event
from brikk_shared.outbox import Outbox

SOURCE: Final = "brikk.discovery"

# An event may hold 256 KiB; with their longest names, an agent can have twice as many as fit.
_MAX_CAPABILITIES = 1000


class Announcer:
    """Tells other services what happened to agents."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def add(self, connection: AsyncConnection, facts: Iterable[Fact]) -> None:
        """Announce facts when the transaction commits, which must hold the registry's lock."""
        await self._outbox.add(connection, [_event(fact) for fact in facts])

    def wake(self) -> None:
        """Call after the commit: there may be something to carry."""
        self._outbox.wake()


def _event(fact: Fact) -> Event:
    agent = fact.agent
    return make_event(
        source=SOURCE,
        type=fact.type,
        subject=agent.key.name,
        organization=agent.key.organization,
        sequence=fact.revision,
        time=fact.time,
        data={
            "agent": agent.key.name,
            "display_name": agent.definition.display_name,
            "capabilities": agent.definition.capability_names()[:_MAX_CAPABILITIES],
        },
        traceparent=fact.traceparent,
    )
