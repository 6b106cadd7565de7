"""The registered agents in the store. Every statement is for many rows at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Row, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.domain.agent import Agent, AgentKey, Definition, Doubt, Load
from brikk_discovery.store.memories import order_of
from brikk_discovery.store.tables import AGENT, MEMORY, REGISTRY
from brikk_shared.batch import batch_params, batch_source
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.types import from_microseconds, to_microseconds

_KEY = {"organization": "text", "agent_id": "text"}
_RENEWAL = _KEY | {
    "epoch": "bigint",
    "revision": "bigint",
    "in_flight": "bigint",
    "draining": "bool",
    "ready": "bool",
    "capacity": "bigint",
    "beat_time": "timestamp",
    "expire_time": "timestamp",
}
_AGENT = _RENEWAL | {
    "incarnation": "text",
    "definition": "text",
    "doubt": "text",
    "register_time": "timestamp",
}
_DOUBT = _KEY | {"doubt": "text", "revision": "bigint"}

_REMEMBERED = AGENT.outerjoin(
    MEMORY,
    (MEMORY.c.organization == AGENT.c.organization) & (MEMORY.c.agent_id == AGENT.c.agent_id),
)
_COLUMNS: Sequence[ColumnElement[Any]] = (*AGENT.c, MEMORY.c.standing_order)
_LOCK = update(REGISTRY).values(turn=REGISTRY.c.turn + 1).returning(REGISTRY.c.revision)
_TURN = "(SELECT turn FROM registry)"
_SELECT = select(*_COLUMNS).select_from(_REMEMBERED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Renewal:
    """What a heartbeat changes in the store."""

    key: AgentKey
    epoch: int
    load: Load
    beat_time: datetime
    expire_time: datetime


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
        keys, renewals = batch_source(dialect, _KEY), batch_source(dialect, _RENEWAL)
        same = "agent.organization = b.organization AND agent.agent_id = b.agent_id"
        names = ", ".join(_AGENT)
        replaced = ", ".join(f"{name} = excluded.{name}" for name in _AGENT if name not in _KEY)
        columns = ", ".join(f"agent.{column.name}" for column in AGENT.c)
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
            f"SELECT {columns}, memory.standing_order FROM {keys} JOIN agent ON {same}"
            " LEFT JOIN memory ON memory.organization = agent.organization"
            " AND memory.agent_id = agent.agent_id"
        ).columns(*AGENT.c, MEMORY.c.standing_order)
        self._save = text(
            f"INSERT INTO agent ({names}, turn, graces)"
            f" SELECT {names}, {_TURN}, 0 FROM {batch_source(dialect, _AGENT)} WHERE true"
            f" ON CONFLICT (organization, agent_id) DO UPDATE SET {replaced},"
            " turn = excluded.turn, graces = 0"
        )
        self._delete = text(
            "DELETE FROM agent WHERE (organization, agent_id) IN"
            f" (SELECT organization, agent_id FROM {keys})"
        )
        # A heartbeat that a slower replica brings later than a newer one must not set it back.
        newer = f"{same} AND agent.epoch = b.epoch AND agent.beat_time <= b.beat_time"
        self._changed = text(
            f"SELECT agent.organization, agent.agent_id FROM {renewals} JOIN agent ON {newer}"
            f" WHERE agent.draining <> b.draining OR agent.doubt = '{Doubt.SILENT}'"
        )
        # What an agent was promised holds, also when less is promised by now.
        self._renew = text(
            "UPDATE agent SET in_flight = b.in_flight, draining = b.draining, ready = b.ready,"
            " capacity = coalesce(b.capacity, agent.capacity), beat_time = b.beat_time,"
            f" expire_time = {greatest}(agent.expire_time, b.expire_time),"
            f" turn = {_TURN}, graces = 0,"
            f" doubt = CASE agent.doubt WHEN '{Doubt.SILENT}' THEN '' ELSE agent.doubt END,"
            " revision = coalesce(b.revision, agent.revision)"
            f" FROM {renewals} WHERE {newer}"
        )
        self._beats = text(
            "SELECT organization, agent_id, epoch, in_flight, draining, ready, capacity,"
            " beat_time, expire_time FROM agent WHERE turn > :turn"
        ).columns(*(AGENT.c[name] for name in _RENEWAL if name != "revision"))
        self._doubt = text(
            "UPDATE agent SET doubt = b.doubt, revision = b.revision"
            f" FROM {batch_source(dialect, _DOUBT)} WHERE {same}"
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
            _renewal(agent)
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

    async def doubt(
        self, connection: AsyncConnection, doubts: Mapping[AgentKey, tuple[Doubt, int]]
    ) -> None:
        """Write why agents are suspect, or that they are not, each with the revision of that."""
        if not doubts:
            return
        rows = [
            key._asdict() | {"doubt": doubt, "revision": revision}
            for key, (doubt, revision) in doubts.items()
        ]
        await connection.execute(self._doubt, batch_params(self._dialect, _DOUBT, rows))

    async def delete(self, connection: AsyncConnection, keys: Collection[AgentKey]) -> None:
        """Delete agents; those that do not exist are no error."""
        if not keys:
            return
        params = batch_params(self._dialect, _KEY, [key._asdict() for key in keys])
        await connection.execute(self._delete, params)

    async def renew(
        self, connection: AsyncConnection, renewals: Sequence[Renewal]
    ) -> list[AgentKey]:
        """Write heartbeats. Those of leases that are gone or superseded change nothing.

        Who was silent is so no more. Agents of which more changes than times and loads are given
        new revisions, and returned.
        """
        rows = [_renewal(item) for item in renewals]
        params = batch_params(self._dialect, _RENEWAL, rows)
        found = await connection.execute(self._changed, params)
        changed = [AgentKey(row.organization, row.agent_id) for row in found]
        if changed:
            last, _ = await self.advance(connection, len(changed))
            revisions = dict(zip(changed, range(last, 0, -1), strict=False))
            for item, row in zip(renewals, rows, strict=True):
                row["revision"] = revisions.get(item.key)
            params = batch_params(self._dialect, _RENEWAL, rows)
        await connection.execute(self._renew, params)
        return changed

    async def beats_since(self, connection: AsyncConnection, turn: int) -> list[Renewal]:
        """Read the last heartbeats of agents of which the last was written after a turn."""
        rows = await connection.execute(self._beats, {"turn": turn})
        return [
            Renewal(
                key=AgentKey(row.organization, row.agent_id),
                epoch=row.epoch,
                load=_load(row),
                beat_time=row.beat_time,
                expire_time=row.expire_time,
            )
            for row in rows
        ]

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
            update(AGENT)
            .where(
                AGENT.c.beat_time <= unheard_since,
                AGENT.c.expire_time < until,
                AGENT.c.graces < at_most,
            )
            .values(expire_time=until, graces=AGENT.c.graces + 1)
            .returning(AGENT.c.organization, AGENT.c.agent_id)
        )
        return [AgentKey(organization, agent_id) for organization, agent_id in rows]

    def _agent(self, row: Row[Any]) -> Agent:
        return Agent(
            key=AgentKey(row.organization, row.agent_id),
            incarnation=row.incarnation,
            epoch=row.epoch,
            revision=row.revision,
            definition=self._definitions.validate_json(row.definition),
            load=_load(row),
            register_time=row.register_time,
            beat_time=row.beat_time,
            expire_time=row.expire_time,
            doubt=Doubt(row.doubt),
            order=order_of(row.standing_order),
        )


def _load(row: Row[Any]) -> Load:
    return Load(
        in_flight=row.in_flight,
        draining=row.draining,
        ready=row.ready,
        capacity=row.capacity,
    )


def _renewal(item: Agent | Renewal) -> dict[str, object]:
    return {
        "organization": item.key.organization,
        "agent_id": item.key.agent_id,
        "epoch": item.epoch,
        "revision": None,
        "in_flight": item.load.in_flight,
        "draining": item.load.draining,
        "ready": item.load.ready,
        "capacity": item.load.capacity,
        "beat_time": item.beat_time,
        "expire_time": item.expire_time,
    }
