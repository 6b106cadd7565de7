"""What callers experienced, as all replicas together know it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.domain.outcome import Sums
from brikk_discovery.store.tables import OUTCOME
from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database

_AGENT = {"organization": "text", "agent_id": "text"}
_KEY = _AGENT | {"capability": "text"}
_SUMS = ("calls", "successes", "latency", "quality")
_OUTCOME = _KEY | dict.fromkeys(_SUMS, "double") | {"time": "timestamp"}


class ExperienceKey(NamedTuple):
    """Which agent at which capability."""

    agent: AgentKey
    capability: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Experience:
    """How calls to an agent at one capability went, as summed up at a time of the store."""

    key: ExperienceKey
    sums: Sums
    time: datetime


class OutcomeStore:
    """Statements on the outcomes; a transaction that writes has locked the registry."""

    def __init__(self, database: Database) -> None:
        self._dialect = dialect = database.dialect
        keys, names = batch_source(dialect, _KEY), ", ".join(_OUTCOME)
        same = " AND ".join(f"outcome.{name} = b.{name}" for name in _KEY)
        columns = ", ".join(f"outcome.{column.name}" for column in OUTCOME.c)
        replaced = ", ".join(f"{name} = excluded.{name}" for name in _OUTCOME if name not in _KEY)
        self._read = text(f"SELECT {columns} FROM {keys} JOIN outcome ON {same}").columns(
            *OUTCOME.c
        )
        self._save = text(
            f"INSERT INTO outcome ({names})"
            f" SELECT {names} FROM {batch_source(dialect, _OUTCOME)} WHERE true"
            f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {replaced}"
        )
        self._forget = text(
            "DELETE FROM outcome WHERE (organization, agent_id) IN"
            f" (SELECT organization, agent_id FROM {batch_source(dialect, _AGENT)})"
        )

    async def read(
        self, connection: AsyncConnection, keys: Iterable[ExperienceKey]
    ) -> list[Experience]:
        """Give what is known of some agents and capabilities; those without are left out."""
        params = batch_params(self._dialect, _KEY, [_row_key(key) for key in keys])
        return _experiences(await connection.execute(self._read, params))

    async def save(self, connection: AsyncConnection, known: Iterable[Experience]) -> None:
        """Replace what is known of some agents and capabilities."""
        rows = [
            _row_key(experience.key)
            | {"time": experience.time}
            | {name: getattr(experience.sums, name) for name in _SUMS}
            for experience in known
        ]
        await connection.execute(self._save, batch_params(self._dialect, _OUTCOME, rows))

    async def changed_since(self, connection: AsyncConnection, time: datetime) -> list[Experience]:
        """Give what changed at a time or later."""
        return _experiences(await connection.execute(select(OUTCOME).where(OUTCOME.c.time >= time)))

    async def forget(self, connection: AsyncConnection, keys: Collection[AgentKey]) -> None:
        """Forget all of some agents."""
        if not keys:
            return
        params = batch_params(self._dialect, _AGENT, [key._asdict() for key in keys])
        await connection.execute(self._forget, params)

    async def forget_before(self, connection: AsyncConnection, time: datetime) -> None:
        """Forget what nothing was added to since then."""
        await connection.execute(delete(OUTCOME).where(OUTCOME.c.time < time))


def _experiences(rows: Iterable[Row[Any]]) -> list[Experience]:
    return [
        Experience(
            key=ExperienceKey(AgentKey(row.organization, row.agent_id), row.capability),
            sums=Sums(**{name: getattr(row, name) for name in _SUMS}),
            time=row.time,
        )
        for row in rows
    ]


def _row_key(key: ExperienceKey) -> dict[str, object]:
    return key.agent._asdict() | {"capability": key.capability}
