"""Which agents left lately, for the replicas and watchers that have yet to learn of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.store.tables import REMOVAL
from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database

KEPT: Final = timedelta(hours=1)
"""Whoever was not told for longer must read the registry as a whole."""

# Stands for all whose removals are forgotten, in the row of the last of them.
_NOBODY: Final = ""

_REMOVAL = {
    "revision": "bigint",
    "organization": "text",
    "agent_id": "text",
    "time": "timestamp",
}


class RemovalStore:
    """Statements on the removals; a transaction that writes has locked the registry."""

    def __init__(self, database: Database) -> None:
        self._dialect = dialect = database.dialect
        names, source = ", ".join(_REMOVAL), batch_source(dialect, _REMOVAL)
        self._insert = text(f"INSERT INTO removal ({names}) SELECT {names} FROM {source}")
        # What is remembered of the id is kept for so long after this.
        self._touch = text(
            f"UPDATE memory SET live_time = b.time FROM {source}"
            " WHERE memory.organization = b.organization AND memory.agent_id = b.agent_id"
        )

    async def add(
        self, connection: AsyncConnection, removals: Mapping[AgentKey, int], now: datetime
    ) -> None:
        """Note that agents left, each at a revision of its own."""
        if not removals:
            return
        rows = [
            key._asdict() | {"revision": revision, "time": now}
            for key, revision in removals.items()
        ]
        params = batch_params(self._dialect, _REMOVAL, rows)
        await connection.execute(self._insert, params)
        await connection.execute(self._touch, params)

    async def since(self, connection: AsyncConnection, revision: int) -> dict[AgentKey, int]:
        """Give the agents that left after a revision, each with the last revision at which."""
        rows = await connection.execute(
            select(REMOVAL.c.organization, REMOVAL.c.agent_id, REMOVAL.c.revision)
            .where(REMOVAL.c.revision > revision, REMOVAL.c.organization != _NOBODY)
            .order_by(REMOVAL.c.revision)
        )
        return {AgentKey(row.organization, row.agent_id): row.revision for row in rows}

    async def forget(self, connection: AsyncConnection, before: datetime) -> None:
        """Forget who left before then, but not up to which revision."""
        rows = await connection.execute(
            delete(REMOVAL).where(REMOVAL.c.time < before).returning(REMOVAL.c.revision)
        )
        forgotten = max(rows.scalars(), default=None)
        if forgotten is not None:
            await connection.execute(
                insert(REMOVAL).values(
                    revision=forgotten, organization=_NOBODY, agent_id=_NOBODY, time=before
                )
            )

    async def forgotten(self, connection: AsyncConnection) -> int:
        """Tell up to which revision removals may be forgotten; 0 when none ever was."""
        revision = await connection.execute(
            select(func.coalesce(func.max(REMOVAL.c.revision), 0)).where(
                REMOVAL.c.organization == _NOBODY
            )
        )
        return int(revision.scalar_one())
