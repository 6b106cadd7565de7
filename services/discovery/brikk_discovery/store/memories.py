"""What is remembered of agents' ids in the store. Every statement is for many rows at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import delete, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.domain.agent import AgentKey, Order
from brikk_discovery.domain.memory import Memory
from brikk_discovery.store.tables import AGENT, MEMORY
from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.types import to_json

_KEY = {"organization": "text", "agent_id": "text"}
_MEMORY = _KEY | {
    "standing_order": "text",
    "superseded": "text",
    "penalty": "double",
    "penalty_time": "timestamp",
    "live_time": "timestamp",
}
_ORDER = TypeAdapter(Order)


class MemoryStore:
    """Statements on the memory; a transaction that writes has locked the registry."""

    def __init__(self, database: Database) -> None:
        self._dialect = dialect = database.dialect
        keys = batch_source(dialect, _KEY)
        names = ", ".join(_MEMORY)
        replaced = ", ".join(f"{name} = excluded.{name}" for name in _MEMORY if name not in _KEY)
        columns = ", ".join(f"memory.{column.name}" for column in MEMORY.c)
        same = "memory.organization = b.organization AND memory.agent_id = b.agent_id"
        self._read = text(f"SELECT {columns} FROM {keys} JOIN memory ON {same}").columns(*MEMORY.c)
        self._save = text(
            f"INSERT INTO memory ({names})"
            f" SELECT {names} FROM {batch_source(dialect, _MEMORY)} WHERE true"
            f" ON CONFLICT (organization, agent_id) DO UPDATE SET {replaced}"
        )
        self._delete = text(
            "DELETE FROM memory WHERE (organization, agent_id) IN"
            f" (SELECT organization, agent_id FROM {keys})"
        )

    async def read(
        self, connection: AsyncConnection, keys: Iterable[AgentKey]
    ) -> dict[AgentKey, Memory]:
        """Read what is remembered of some ids; those of which nothing is are left out."""
        params = batch_params(self._dialect, _KEY, [key._asdict() for key in keys])
        rows = await connection.execute(self._read, params)
        return {
            AgentKey(row.organization, row.agent_id): Memory(
                order=order_of(row.standing_order),
                superseded=tuple(json.loads(row.superseded)),
                penalty=row.penalty,
                penalty_time=row.penalty_time,
            )
            for row in rows
        }

    async def save(
        self, connection: AsyncConnection, memories: Mapping[AgentKey, Memory], now: datetime
    ) -> None:
        """Replace what is remembered of some ids; of an empty memory no row is left."""
        kept = [
            key._asdict()
            | {
                "standing_order": _order_text(memory.order),
                "superseded": to_json(memory.superseded),
                "penalty": memory.penalty,
                "penalty_time": memory.penalty_time,
                "live_time": now,
            }
            for key, memory in memories.items()
            if not memory.empty
        ]
        gone = [key._asdict() for key, memory in memories.items() if memory.empty]
        if kept:
            await connection.execute(self._save, batch_params(self._dialect, _MEMORY, kept))
        if gone:
            await connection.execute(self._delete, batch_params(self._dialect, _KEY, gone))

    async def forget(self, connection: AsyncConnection, before: datetime) -> None:
        """Forget the ids of agents that left before then and did not come back."""
        live = select(AGENT.c.organization, AGENT.c.agent_id)
        await connection.execute(
            delete(MEMORY).where(
                MEMORY.c.live_time < before,
                tuple_(MEMORY.c.organization, MEMORY.c.agent_id).not_in(live),
            )
        )


def order_of(standing_order: str | None) -> Order | None:
    """Read an order as its column holds it."""
    return None if standing_order is None else _ORDER.validate_json(standing_order)


def _order_text(order: Order | None) -> str | None:
    return None if order is None else _ORDER.dump_json(order).decode()
