"""How agents stand with the sweep, in the store. Every statement is for many rows at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, delete, null, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.domain.agent import AgentKey, Doubt
from brikk_discovery.domain.memory import NOTHING, Memory
from brikk_discovery.store.tables import AGENT_LEASE, MEMORY
from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.types import to_json

_KEY = {"organization": "text", "agent_id": "text"}
_COLUMNS = (
    AGENT_LEASE.c.organization,
    AGENT_LEASE.c.agent_id,
    AGENT_LEASE.c.epoch,
    AGENT_LEASE.c.doubt,
    AGENT_LEASE.c.expire_time,
    MEMORY.c.penalty,
    MEMORY.c.penalty_time,
)
_SAME = (MEMORY.c.organization == AGENT_LEASE.c.organization) & (
    MEMORY.c.agent_id == AGENT_LEASE.c.agent_id
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What the sweep needs of an agent."""

    key: AgentKey
    epoch: int
    doubt: Doubt
    expire_time: datetime
    memory: Memory
    """Of which only the penalty is read."""


class StandingStore:
    """Statements of the sweep; a transaction that writes has locked the registry."""

    def __init__(self, database: Database) -> None:
        self._dialect = dialect = database.dialect
        columns = ", ".join(str(column) for column in _COLUMNS)
        self._read = text(
            f"SELECT {columns} FROM {batch_source(dialect, _KEY)}"
            " JOIN agent_lease ON agent_lease.organization = b.organization"
            " AND agent_lease.agent_id = b.agent_id"
            " LEFT JOIN memory ON memory.organization = b.organization"
            " AND memory.agent_id = b.agent_id"
        ).columns(*_COLUMNS)

    async def read(self, connection: AsyncConnection, keys: Iterable[AgentKey]) -> list[Standing]:
        """Read how some agents stand; those that do not exist are left out."""
        rows = [key._asdict() for key in keys]
        if not rows:
            return []
        params = batch_params(self._dialect, _KEY, rows)
        return [_standing(row) for row in await connection.execute(self._read, params)]

    async def ending(self, connection: AsyncConnection, before: datetime) -> list[Standing]:
        """Read the agents whose leases end before then, the first to end first.

        Reads the whole table, as all do here that name no agents.
        """
        return await _all(
            connection,
            select(*_COLUMNS)
            .select_from(AGENT_LEASE.outerjoin(MEMORY, _SAME))
            .where(AGENT_LEASE.c.expire_time < before)
            .order_by(AGENT_LEASE.c.expire_time),
        )

    async def doubted(self, connection: AsyncConnection, doubt: Doubt) -> list[Standing]:
        """Read the agents that are suspect for one reason."""
        return await _all(
            connection,
            select(*_COLUMNS)
            .select_from(AGENT_LEASE.outerjoin(MEMORY, _SAME))
            .where(AGENT_LEASE.c.doubt == doubt),
        )

    async def penalised(self, connection: AsyncConnection, above: float) -> list[Standing]:
        """Read the agents whose penalty was above so much when it was last raised."""
        return await _all(
            connection,
            select(*_COLUMNS)
            .select_from(MEMORY.join(AGENT_LEASE, _SAME))
            .where(MEMORY.c.penalty > above),
        )

    async def extend(
        self,
        connection: AsyncConnection,
        until: datetime,
        *,
        unheard_since: datetime,
        at_most: int,
    ) -> list[AgentKey]:
        """Let leases of agents unheard since a moment last until another, and return their keys.

        That is done at most so many times in a row, and never shortens a lease.
        """
        rows = await connection.execute(
            update(AGENT_LEASE)
            .where(
                AGENT_LEASE.c.beat_time <= unheard_since,
                AGENT_LEASE.c.expire_time < until,
                AGENT_LEASE.c.graces < at_most,
            )
            .values(expire_time=until, graces=AGENT_LEASE.c.graces + 1)
            .returning(AGENT_LEASE.c.organization, AGENT_LEASE.c.agent_id)
        )
        return [AgentKey(organization, agent_id) for organization, agent_id in rows]

    async def bring_back(
        self, connection: AsyncConnection, now: datetime, until: datetime
    ) -> list[AgentKey]:
        """Let leases that were renewed after `now` count from there, when time was set back."""
        rows = await connection.execute(
            update(AGENT_LEASE)
            .where(AGENT_LEASE.c.beat_time > now)
            .values(beat_time=now, expire_time=until)
            .returning(AGENT_LEASE.c.organization, AGENT_LEASE.c.agent_id)
        )
        return [AgentKey(organization, agent_id) for organization, agent_id in rows]

    async def forgive(self, connection: AsyncConnection, before: datetime) -> None:
        """Forget penalties that were last raised before then, and rows that hold nothing else."""
        await connection.execute(
            update(MEMORY)
            .where(MEMORY.c.penalty_time < before)
            .values(penalty=NOTHING.penalty, penalty_time=null())
        )
        await connection.execute(
            delete(MEMORY).where(
                MEMORY.c.penalty == NOTHING.penalty,
                MEMORY.c.standing_order.is_(None),
                MEMORY.c.superseded == to_json(NOTHING.superseded),
            )
        )


async def _all(connection: AsyncConnection, query: Select[Any]) -> list[Standing]:
    return [_standing(row) for row in await connection.execute(query)]


def _standing(row: Row[Any]) -> Standing:
    return Standing(
        key=AgentKey(row.organization, row.agent_id),
        epoch=row.epoch,
        doubt=Doubt(row.doubt),
        expire_time=row.expire_time,
        memory=NOTHING
        if row.penalty is None
        else Memory(penalty=row.penalty, penalty_time=row.penalty_time),
    )
