"""What agents tell of attempts under way: a row for each execution with any, for all replicas."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source, dialect_of
from brikk_shared.types import from_microseconds, to_json, to_microseconds
from brikk_workflow.domain.attempt_progress import AttemptProgress
from brikk_workflow.store.tables import PROGRESS

Told = Mapping[str, AttemptProgress]
"""The progress of an execution's attempts, by their tokens."""
_COLUMNS = {"execution_id": "text", "attempts": "text"}


async def write_progress(connection: AsyncConnection, told: Mapping[str, Told]) -> None:
    """Takes in how far executions have come, in place of what was written of them before."""
    dialect = dialect_of(connection)
    statement = text(
        "INSERT INTO progress (execution_id, attempts)"
        f" SELECT execution_id, attempts FROM {batch_source(dialect, _COLUMNS)} WHERE true"
        " ON CONFLICT (execution_id) DO UPDATE SET attempts = excluded.attempts"
    )
    rows = [
        {"execution_id": execution_id, "attempts": to_json(_attempts(told[execution_id]))}
        for execution_id in sorted(told)
    ]
    await connection.execute(statement, batch_params(dialect, _COLUMNS, rows))


async def clear_progress(connection: AsyncConnection, execution_ids: Collection[str]) -> None:
    """Forgets executions with no such attempt any more."""
    await connection.execute(delete(PROGRESS).where(PROGRESS.c.execution_id.in_(execution_ids)))


async def get_progress(connection: AsyncConnection, execution_id: str) -> Told:
    """Returns what was last told; of attempts that have ended since, too."""
    query = select(PROGRESS.c.attempts).where(PROGRESS.c.execution_id == execution_id)
    attempts = (await connection.execute(query)).scalar_one_or_none()
    return {} if attempts is None else _told(attempts)


def _attempts(told: Told) -> Mapping[str, object]:
    return {
        token: [each.fraction, each.message, to_microseconds(each.time)]
        for token, each in told.items()
    }


def _told(attempts: Mapping[str, tuple[float, str, int]]) -> Told:
    return {
        token: AttemptProgress(fraction=fraction, message=message, time=from_microseconds(time))
        for token, (fraction, message, time) in attempts.items()
    }
