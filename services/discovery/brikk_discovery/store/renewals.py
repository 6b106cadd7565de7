"""What heartbeats write: the leases of agents, in rows of their own, which are small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.domain.agent import Agent, AgentKey, Doubt, Load
from brikk_discovery.store.tables import AGENT_LEASE
from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database

RENEWAL = {
    "organization": "text",
    "agent_id": "text",
    "epoch": "bigint",
    "in_flight": "bigint",
    "draining": "bool",
    "ready": "bool",
    "capacity": "bigint",
    "beat_time": "timestamp",
    "expire_time": "timestamp",
}
"""The columns that a heartbeat tells of, as a batch has them."""
TURN = "(SELECT turn FROM registry)"
"""SQL for the turn of the transaction under way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Renewal:
    """What a heartbeat changes in the store."""

    key: AgentKey
    epoch: int
    load: Load
    beat_time: datetime
    expire_time: datetime


class RenewalStore:
    """Statements on the leases; a transaction that writes has locked the registry."""

    def __init__(self, database: Database) -> None:
        self._dialect = dialect = database.dialect
        renewals = batch_source(dialect, RENEWAL)
        greatest = "max" if dialect == "sqlite" else "greatest"
        # A heartbeat that a slower replica brings later than a newer one must not set it back.
        newer = (
            "held.organization = b.organization AND held.agent_id = b.agent_id"
            " AND held.epoch = b.epoch AND held.beat_time <= b.beat_time"
        )
        self._changed = text(
            "SELECT held.organization, held.agent_id"
            f" FROM {renewals} JOIN agent_lease AS held ON {newer}"
            f" WHERE held.draining <> b.draining OR held.doubt = '{Doubt.SILENT}'"
        )
        # What an agent was promised holds, also when less is promised by now.
        self._renew = text(
            "UPDATE agent_lease AS held"
            " SET in_flight = b.in_flight, draining = b.draining, ready = b.ready,"
            " capacity = coalesce(b.capacity, held.capacity), beat_time = b.beat_time,"
            f" expire_time = {greatest}(held.expire_time, b.expire_time),"
            f" turn = {TURN}, graces = 0,"
            f" doubt = CASE held.doubt WHEN '{Doubt.SILENT}' THEN '' ELSE held.doubt END"
            f" FROM {renewals} WHERE {newer}"
        )
        self._since = text(
            f"SELECT {', '.join(RENEWAL)} FROM agent_lease WHERE turn > :turn"
        ).columns(*(AGENT_LEASE.c[name] for name in RENEWAL))

    async def renew(
        self, connection: AsyncConnection, renewals: Sequence[Renewal]
    ) -> list[AgentKey]:
        """Write heartbeats. Those of leases that are gone or superseded change nothing.

        Who was silent is so no more. Returns the agents of which more changes than times and loads:
        the caller gives them new revisions.
        """
        rows = [renewal_row(item) for item in renewals]
        params = batch_params(self._dialect, RENEWAL, rows)
        changed = await connection.execute(self._changed, params)
        keys = [AgentKey(organization, agent_id) for organization, agent_id in changed]
        await connection.execute(self._renew, params)
        return keys

    async def since(self, connection: AsyncConnection, turn: int) -> list[Renewal]:
        """Read the last heartbeats of agents of which the last was written after a turn.

        Reads the whole table: an index would cost every heartbeat more than that each second.
        """
        rows = await connection.execute(self._since, {"turn": turn})
        return [
            Renewal(
                key=AgentKey(row.organization, row.agent_id),
                epoch=row.epoch,
                load=load_of(row),
                beat_time=row.beat_time,
                expire_time=row.expire_time,
            )
            for row in rows
        ]


def renewal_row(item: Agent | Renewal) -> dict[str, object]:
    """Write a lease as its columns hold it."""
    return {
        "organization": item.key.organization,
        "agent_id": item.key.agent_id,
        "epoch": item.epoch,
        "in_flight": item.load.in_flight,
        "draining": item.load.draining,
        "ready": item.load.ready,
        "capacity": item.load.capacity,
        "beat_time": item.beat_time,
        "expire_time": item.expire_time,
    }


def load_of(row: Row[Any]) -> Load:
    """Read the load as the columns of a lease hold it."""
    return Load(
        in_flight=row.in_flight,
        draining=row.draining,
        ready=row.ready,
        capacity=row.capacity,
    )
