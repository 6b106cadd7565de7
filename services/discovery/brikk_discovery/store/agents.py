"""The registered agents in the store. Every statement is for many rows at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Row, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.domain.agent import Agent, AgentKey, Definition, Doubt
from brikk_discovery.store.memories import order_of
from brikk_discovery.store.renewals import RENEWAL, TURN, load_of, renewal_row
from brikk_discovery.store.tables import AGENT, AGENT_LEASE, MEMORY, REGISTRY
from brikk_shared.batch import batch_params, batch_source
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.types import from_microseconds, to_microseconds

_KEY = {"organization": "text", "agent_id": "text"}
_AGENT = _KEY | {
    "incarnation": "text",
    "revision": "bigint",
    "definition": "text",
    "register_time": "timestamp",
}
_LEASE = RENEWAL | {"doubt": "text"}
_DOUBT = _KEY | {"doubt": "text"}
_REVISION = _KEY | {"revision": "bigint"}

_COLUMNS: Sequence[ColumnElement[Any]] = (
    *AGENT.c,
    *(column for column in AGENT_LEASE.c if column.name not in _KEY),
    MEMORY.c.standing_order,
)
_SELECT = select(*_COLUMNS).select_from(
    AGENT.join(
        AGENT_LEASE,
        (AGENT_LEASE.c.organization == AGENT.c.organization)
        & (AGENT_LEASE.c.agent_id == AGENT.c.agent_id),
    ).outerjoin(
        MEMORY,
        (MEMORY.c.organization == AGENT.c.organization) & (MEMORY.c.agent_id == AGENT.c.agent_id),
    )
)
_LOCK = update(REGISTRY).values(turn=REGISTRY.c.turn + 1).returning(REGISTRY.c.revision)


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """How far the registry has come."""

    epoch: str
    """Names the registry's history: revisions of another one mean nothing."""
    revision: int
    turn: int
    """Grows with every transaction that writes agents, in the order in which they commit."""
    time: datetime
    """By the store's clock."""


class AgentStore:
    """Statements on the registry's tables; a transaction that writes calls `advance` first."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._dialect = dialect = database.dialect
        self._clock = clock
        self._definitions = TypeAdapter(Definition)
        keys = batch_source(dialect, _KEY)
        same = "agent.organization = b.organization AND agent.agent_id = b.agent_id"
        leased = "agent_lease.organization = b.organization AND agent_lease.agent_id = b.agent_id"
        columns = ", ".join(str(column) for column in _COLUMNS)
        greatest = "max" if dialect == "sqlite" else "greatest"
        self._now = text(f"SELECT {database.now_sql}")
        now = ":now" if dialect == "sqlite" else database.now_sql
        self._advance = text(
            f"UPDATE registry SET revision = {greatest}(revision, {now}) + :changes,"
            f" turn = turn + 1 RETURNING revision, {now} AS now"
        )
        self._position = text(
            f"SELECT epoch, revision, turn, {database.now_sql} AS now FROM registry"
        )
        self._read = text(
            f"SELECT {columns} FROM {keys} JOIN agent ON {same} JOIN agent_lease ON {leased}"
            " LEFT JOIN memory ON memory.organization = b.organization"
            " AND memory.agent_id = b.agent_id"
        ).columns(*_COLUMNS)
        self._save = text(
            f"INSERT INTO agent ({', '.join(_AGENT)})"
            f" SELECT {', '.join(_AGENT)} FROM {batch_source(dialect, _AGENT)} WHERE true"
            f" ON CONFLICT (organization, agent_id) DO UPDATE SET {_replaced(_AGENT)}"
        )
        self._lease = text(
            f"INSERT INTO agent_lease ({', '.join(_LEASE)}, turn, graces)"
            f" SELECT {', '.join(_LEASE)}, {TURN}, 0 FROM {batch_source(dialect, _LEASE)}"
            f" WHERE true ON CONFLICT (organization, agent_id) DO UPDATE SET {_replaced(_LEASE)},"
            " turn = excluded.turn, graces = 0"
        )
        self._delete = [
            text(
                f"DELETE FROM {table} WHERE (organization, agent_id) IN"
                f" (SELECT organization, agent_id FROM {keys})"
            )
            for table in (AGENT, AGENT_LEASE)
        ]
        self._revise = text(
            "UPDATE agent SET revision = b.revision"
            f" FROM {batch_source(dialect, _REVISION)} WHERE {same}"
        )
        self._doubt = text(
            "UPDATE agent_lease SET doubt = b.doubt"
            f" FROM {batch_source(dialect, _DOUBT)} WHERE {leased}"
        )

    async def now(self, connection: AsyncConnection) -> datetime:
        """Tell the store's time. A file belongs to one process, so there it is that process's."""
        if self._dialect == "sqlite":
            return self._clock.now()
        return from_microseconds((await connection.execute(self._now)).scalar_one())

    async def advance(self, connection: AsyncConnection, changes: int = 0) -> tuple[int, datetime]:
        """Lock the registry until the transaction ends, and take revisions for so many changes.

        Revisions are at least microseconds since 1970, and leave gaps: so none is given twice, be
        it that the store was restored from an older copy. Returns the last of those revisions, and
        the store's time, read after the lock was had.
        """
        if not changes:
            revision = (await connection.execute(_LOCK)).scalar_one()
            return revision, await self.now(connection)
        values = {"changes": changes}
        if self._dialect == "sqlite":
            values["now"] = to_microseconds(self._clock.now())
        row = (await connection.execute(self._advance, values)).one()
        return row.revision, from_microseconds(row.now)

    async def position(self, connection: AsyncConnection) -> Position:
        """Tell how far the registry has come. Locks nothing."""
        row = (await connection.execute(self._position)).one()
        now = self._clock.now() if self._dialect == "sqlite" else from_microseconds(row.now)
        return Position(epoch=row.epoch, revision=row.revision, turn=row.turn, time=now)

    async def begin_epoch(self, connection: AsyncConnection, epoch: str) -> int:
        """Begin another history of the registry; all agents change. Returns the revision of that.

        For when the store went back: whatever was learned from the old history ends here.
        """
        revision, _ = await self.advance(connection, 1)
        await connection.execute(update(REGISTRY).values(epoch=epoch))
        await connection.execute(update(AGENT).values(revision=revision))
        return revision

    async def since(self, connection: AsyncConnection, revision: int) -> list[Agent]:
        """Read the agents that changed after a revision."""
        rows = await connection.execute(_SELECT.where(AGENT.c.revision > revision))
        return [self._agent(row) for row in rows]

    async def revisions(self, connection: AsyncConnection) -> dict[AgentKey, int]:
        """Read the revisions of all agents, and nothing else of them."""
        rows = await connection.execute(
            select(AGENT.c.organization, AGENT.c.agent_id, AGENT.c.revision)
        )
        return {AgentKey(row.organization, row.agent_id): row.revision for row in rows}

    async def read_all(self, connection: AsyncConnection) -> list[Agent]:
        """Read the whole registry."""
        return [self._agent(row) for row in await connection.execute(_SELECT)]

    async def read(
        self, connection: AsyncConnection, keys: Iterable[AgentKey]
    ) -> dict[AgentKey, Agent]:
        """Read some agents; those that do not exist are left out."""
        params = batch_params(self._dialect, _KEY, [key._asdict() for key in keys])
        agents = [self._agent(row) for row in await connection.execute(self._read, params)]
        return {agent.key: agent for agent in agents}

    async def count(
        self, connection: AsyncConnection, organizations: Collection[str]
    ) -> dict[str, int]:
        """Count the agents of each organisation that has some."""
        if not organizations:
            return {}
        rows = await connection.execute(
            select(AGENT.c.organization, func.count().label("agents"))
            .where(AGENT.c.organization.in_(organizations))
            .group_by(AGENT.c.organization)
        )
        return {row.organization: row.agents for row in rows}

    async def save(self, connection: AsyncConnection, agents: Sequence[Agent]) -> None:
        """Insert agents, or replace those of the same keys."""
        if not agents:
            return
        rows = [
            renewal_row(agent)
            | {
                "incarnation": agent.incarnation,
                "revision": agent.revision,
                "definition": self._definitions.dump_json(
                    agent.definition, exclude_defaults=True
                ).decode(),
                "doubt": agent.doubt,
                "register_time": agent.register_time,
            }
            for agent in agents
        ]
        await connection.execute(self._save, batch_params(self._dialect, _AGENT, rows))
        await connection.execute(self._lease, batch_params(self._dialect, _LEASE, rows))

    async def revise(self, connection: AsyncConnection, revisions: Mapping[AgentKey, int]) -> None:
        """Note at which revisions agents changed."""
        rows = [key._asdict() | {"revision": revision} for key, revision in revisions.items()]
        await connection.execute(self._revise, batch_params(self._dialect, _REVISION, rows))

    async def doubt(
        self, connection: AsyncConnection, doubts: Mapping[AgentKey, tuple[Doubt, int]]
    ) -> None:
        """Write why agents are suspect, or that they are not, each with the revision of that."""
        if not doubts:
            return
        rows = [key._asdict() | {"doubt": doubt} for key, (doubt, _) in doubts.items()]
        await connection.execute(self._doubt, batch_params(self._dialect, _DOUBT, rows))
        await self.revise(connection, {key: revision for key, (_, revision) in doubts.items()})

    async def delete(self, connection: AsyncConnection, keys: Collection[AgentKey]) -> None:
        """Delete agents; those that do not exist are no error."""
        if not keys:
            return
        params = batch_params(self._dialect, _KEY, [key._asdict() for key in keys])
        for statement in self._delete:
            await connection.execute(statement, params)

    def _agent(self, row: Row[Any]) -> Agent:
        return Agent(
            key=AgentKey(row.organization, row.agent_id),
            incarnation=row.incarnation,
            epoch=row.epoch,
            revision=row.revision,
            definition=self._definitions.validate_json(row.definition),
            load=load_of(row),
            register_time=row.register_time,
            beat_time=row.beat_time,
            expire_time=row.expire_time,
            doubt=Doubt(row.doubt),
            order=order_of(row.standing_order),
        )


def _replaced(columns: Collection[str]) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in columns if name not in _KEY)
