"""What is kept of endpoints: how they fare, and how far ahead their requests are paced.

There is a row from an endpoint's first trouble, bound or order on; most have none. Who locks rows
does so before any delivery's and in the order of the webhooks, so that nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.types import from_microseconds
from brikk_webhooks.domain.health import Health

_UID = {"webhook_uid": "text"}
_HEALTH = {
    "failures": "bigint",
    "failing_since": "timestamp",
    "failed_at": "timestamp",
    "pauses": "bigint",
    "paused_until": "timestamp",
    "failing": "bool",
    "gone": "bool",
}
_COLUMNS = {**_UID, "paced_until": "timestamp", **_HEALTH, "announced": "bool"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """What is kept of one."""

    health: Health = field(default_factory=Health)
    paced_until: datetime | None = None
    announced: bool = False
    """Whether people were told that it fails."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Locked:
    """Endpoints that nobody else changes until the transaction ends."""

    now: datetime
    """By the store's clock, after any wait for others."""
    endpoints: Mapping[str, Endpoint]
    """By webhook; those whose webhook is deleted are missing."""


class Endpoints:
    """Locks and writes rows, always many in one statement."""

    def __init__(self, database: Database) -> None:
        self._dialect = dialect = database.dialect
        lock = " FOR KEY SHARE OF w" if dialect == "postgresql" else ""
        self._now = text(f"SELECT {database.now_sql}")
        self._lock = text(
            "INSERT INTO endpoint (webhook_uid, failures, pauses, failing, gone, announced)"
            f" SELECT b.webhook_uid, 0, 0, false, false, false FROM {batch_source(dialect, _UID)}"
            f" JOIN webhook w ON w.uid = b.webhook_uid WHERE true ORDER BY b.webhook_uid{lock}"
            " ON CONFLICT (webhook_uid) DO UPDATE SET webhook_uid = excluded.webhook_uid"
            f" RETURNING {', '.join(_COLUMNS)}"
        )
        moves = ", ".join(f"{column} = b.{column}" for column in _COLUMNS if column not in _UID)
        self._write = text(
            f"UPDATE endpoint SET {moves} FROM {batch_source(dialect, _COLUMNS)}"
            " WHERE endpoint.webhook_uid = b.webhook_uid"
        )

    async def lock(self, connection: AsyncConnection, uids: Collection[str]) -> Locked:
        """Read endpoints and keep others from changing them."""
        rows = [{"webhook_uid": uid} for uid in sorted(uids)]
        found = await connection.execute(self._lock, batch_params(self._dialect, _UID, rows))
        endpoints = {
            row.webhook_uid: Endpoint(
                health=Health(
                    failures=row.failures,
                    failing_since=_moment(row.failing_since),
                    failed_at=_moment(row.failed_at),
                    pauses=row.pauses,
                    paused_until=_moment(row.paused_until),
                    failing=bool(row.failing),
                    gone=bool(row.gone),
                ),
                paced_until=_moment(row.paced_until),
                announced=bool(row.announced),
            )
            for row in found
        }
        now = (await connection.execute(self._now)).scalar_one()
        return Locked(now=from_microseconds(now), endpoints=endpoints)

    async def write(self, connection: AsyncConnection, changed: Mapping[str, Endpoint]) -> None:
        """Write endpoints that were locked before, by webhook."""
        rows = [
            {
                "webhook_uid": uid,
                "paced_until": endpoint.paced_until,
                "announced": endpoint.announced,
                **{name: getattr(endpoint.health, name) for name in _HEALTH},
            }
            for uid, endpoint in changed.items()
        ]
        if rows:
            params = batch_params(self._dialect, _COLUMNS, rows)
            await connection.execute(self._write, params)


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_microseconds(microseconds)
