"""The runs of schedules: which are to start, which wait for their turn, which were started."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, and_, delete, func, literal_column, or_, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_workflow.domain.schedule import Cause, RunState, Schedule, ScheduleRun
from brikk_workflow.domain.state import ExecutionStatus
from brikk_workflow.store.schedules import to_schedule
from brikk_workflow.store.tables import EXECUTION, SCHEDULE, SCHEDULE_RUN

KEPT = 10
"""Runs of a schedule that are remembered when they have ended: the newest."""

_MICROSECOND = timedelta(microseconds=1)
_RUN = {
    "run_key": "text",
    "uid": "text",
    "cause": "text",
    "tick": "timestamp",
    "state": "text",
}
_SETTLED = {"run_key": "text", "uid": "text", "execution_id": "text", "error": "text"}
# Spelt out, or the index of those in this state would not be used.
_PENDING = SCHEDULE_RUN.c.state == literal_column(f"'{RunState.PENDING}'")
WAITING = SCHEDULE_RUN.c.state == literal_column(f"'{RunState.WAITING}'")
# It starts at once, or something of it runs. What retention has deleted does not run.
OPEN = and_(
    or_(
        SCHEDULE_RUN.c.state == RunState.PENDING,
        and_(SCHEDULE_RUN.c.state == RunState.STARTED, EXECUTION.c.create_time.is_not(None)),
    ),
    EXECUTION.c.end_time.is_(None),
)
WITH_EXECUTION = SCHEDULE_RUN.outerjoin(
    EXECUTION, EXECUTION.c.execution_id == SCHEDULE_RUN.c.execution_id
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DueRun:
    """A run to start, and the schedule that says how."""

    schedule: Schedule
    run: ScheduleRun


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What became of a run: its execution, or why it has none."""

    uid: str
    key: str
    execution_id: str
    error: str = ""


async def list_runs(connection: AsyncConnection, uid: str) -> Sequence[ScheduleRun]:
    """Return the newest runs of a schedule, newest first."""
    query = (
        select(SCHEDULE_RUN)
        .where(SCHEDULE_RUN.c.uid == uid)
        .order_by(SCHEDULE_RUN.c.create_time.desc(), SCHEDULE_RUN.c.tick.desc())
        .limit(KEPT)
    )
    return [_to_run(row) for row in await connection.execute(query)]


async def add_runs(
    connection: AsyncConnection,
    database: Database,
    runs: Collection[tuple[str, ScheduleRun]],
    *,
    attempt_after: timedelta = timedelta(0),
) -> None:
    """Record runs of schedules, by their uids; those recorded before stay as they are.

    Whoever records them may start them alone for so long.
    """
    rows = [
        {"run_key": run.key, "uid": uid, "cause": run.cause, "tick": run.tick, "state": run.state}
        for uid, run in runs
    ]
    source = batch_source(database.dialect, _RUN)
    statement = text(_ADD.format(source=source, now=database.now_sql))
    await connection.execute(
        statement,
        batch_params(database.dialect, _RUN, rows) | {"after": attempt_after // _MICROSECOND},
    )


async def failed_runs(connection: AsyncConnection, uids: Collection[str]) -> Mapping[str, str]:
    """Return, by uid, what failed of schedules since they were last changed or resumed."""
    since = SCHEDULE.c.update_time
    query = (
        select(SCHEDULE_RUN.c.uid, SCHEDULE_RUN.c.execution_id, SCHEDULE_RUN.c.error)
        .select_from(WITH_EXECUTION.join(SCHEDULE, SCHEDULE.c.uid == SCHEDULE_RUN.c.uid))
        .where(
            SCHEDULE_RUN.c.uid.in_(uids),
            or_(
                and_(EXECUTION.c.status == ExecutionStatus.FAILED, EXECUTION.c.end_time >= since),
                and_(SCHEDULE_RUN.c.state == RunState.FAILED, SCHEDULE_RUN.c.create_time >= since),
            ),
        )
        .order_by(SCHEDULE_RUN.c.create_time.desc(), SCHEDULE_RUN.c.tick.desc())
    )
    return {
        row.uid: f"executions/{row.execution_id} failed" if row.execution_id else row.error
        for row in await connection.execute(query)
    }


async def count_waiting(
    connection: AsyncConnection, uids: Collection[str]
) -> Mapping[tuple[str, Cause], int]:
    """Return how many runs of schedules wait for their turn, by uid and cause."""
    query = (
        select(SCHEDULE_RUN.c.uid, SCHEDULE_RUN.c.cause, func.count().label("waiting"))
        .where(SCHEDULE_RUN.c.uid.in_(uids), WAITING)
        .group_by(SCHEDULE_RUN.c.uid, SCHEDULE_RUN.c.cause)
    )
    return {(row.uid, Cause(row.cause)): row.waiting for row in await connection.execute(query)}


async def drop_waiting_ticks(connection: AsyncConnection, uids: Collection[str]) -> int:
    """Forget the ticks of schedules that wait for their turn; returns how many they were."""
    dropped = delete(SCHEDULE_RUN).where(
        SCHEDULE_RUN.c.uid.in_(uids), SCHEDULE_RUN.c.cause == Cause.TICK, WAITING
    )
    return (await connection.execute(dropped)).rowcount


async def take_due_runs(
    connection: AsyncConnection, database: Database, *, lease: timedelta, limit: int
) -> Sequence[DueRun]:
    """Take runs that are to start; nobody else takes them before the lease ends."""
    due = (
        select(SCHEDULE_RUN.c.run_key)
        .where(_PENDING, SCHEDULE_RUN.c.attempt_at <= text(f"(SELECT {database.now_sql})"))
        .order_by(SCHEDULE_RUN.c.attempt_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    taken = (
        update(SCHEDULE_RUN)
        .where(SCHEDULE_RUN.c.run_key.in_(select(due.c.run_key)))
        .values(attempt_at=text(f"{database.now_sql} + {lease // _MICROSECOND}"))
        .returning(SCHEDULE_RUN)
    )
    rows = (await connection.execute(taken)).all()
    if not rows:
        return ()
    uids = {row.uid for row in rows}
    found = await connection.execute(select(SCHEDULE).where(SCHEDULE.c.uid.in_(uids)))
    schedules = {row.uid: to_schedule(row) for row in found}
    return [DueRun(schedule=schedules[row.uid], run=_to_run(row)) for row in rows]


async def begun_executions(
    connection: AsyncConnection, runs: Collection[DueRun]
) -> Mapping[str, str]:
    """Return the executions that were started for some runs before, by their keys."""
    keys = [(each.schedule.organization, each.run.key) for each in runs]
    query = select(EXECUTION.c.request_id, EXECUTION.c.execution_id).where(
        tuple_(EXECUTION.c.organization, EXECUTION.c.request_id).in_(keys)
    )
    return {row.request_id: row.execution_id for row in await connection.execute(query)}


async def settle(
    connection: AsyncConnection, database: Database, settled: Sequence[Settled]
) -> None:
    """Record what became of runs, and forget those of their schedules that are long over."""
    rows = [
        {
            "run_key": each.key,
            "uid": each.uid,
            "execution_id": each.execution_id or None,
            "error": each.error,
        }
        for each in settled
    ]
    source = batch_source(database.dialect, _SETTLED)
    params = batch_params(database.dialect, _SETTLED, rows)
    # Schedules before their runs, as everybody does who writes both.
    if any(each.error for each in settled):
        await connection.execute(text(_COUNT_FAILED.format(source=source)), params)
    await connection.execute(text(_SETTLE.format(source=source)), params)
    await _forget(connection, {each.uid for each in settled})


async def _forget(connection: AsyncConnection, uids: Collection[str]) -> None:
    newest_first = (SCHEDULE_RUN.c.create_time.desc(), SCHEDULE_RUN.c.tick.desc())
    place = func.row_number().over(partition_by=SCHEDULE_RUN.c.uid, order_by=newest_first)
    over = (
        select(SCHEDULE_RUN.c.run_key, place.label("place"))
        .select_from(WITH_EXECUTION)
        .where(
            SCHEDULE_RUN.c.uid.in_(uids),
            SCHEDULE_RUN.c.state.in_([RunState.STARTED, RunState.FAILED]),
            ~OPEN,
        )
        .subquery()
    )
    await connection.execute(
        delete(SCHEDULE_RUN).where(
            SCHEDULE_RUN.c.run_key.in_(select(over.c.run_key).where(over.c.place > KEPT))
        )
    )


def _to_run(row: Row[Any]) -> ScheduleRun:
    return ScheduleRun(
        key=row.run_key,
        cause=Cause(row.cause),
        tick=row.tick,
        state=RunState(row.state),
        execution_id=row.execution_id or "",
        error=row.error,
    )


_ADD = """
INSERT INTO schedule_run (run_key, uid, cause, tick, state, attempt_at, error, create_time)
SELECT
    run_key, uid, cause, tick, state,
    CASE WHEN state = 'pending' THEN {now} + :after END, '', {now}
FROM {source} WHERE true
ON CONFLICT DO NOTHING
"""
_SETTLE = """
UPDATE schedule_run SET
    state = CASE WHEN b.execution_id IS NULL THEN 'failed' ELSE 'started' END,
    execution_id = b.execution_id, error = b.error, attempt_at = NULL
FROM {source}
WHERE schedule_run.run_key = b.run_key AND schedule_run.state <> 'started'
"""
_COUNT_FAILED = """
UPDATE schedule SET failed = failed + (
    SELECT count(*) FROM {source} WHERE b.uid = schedule.uid AND b.execution_id IS NULL
) WHERE uid IN (SELECT b.uid FROM {source} WHERE b.execution_id IS NULL)
"""
