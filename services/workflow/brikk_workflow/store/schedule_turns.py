"""The turns of schedules: those with something to decide, by one replica at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import exists, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.types import from_microseconds
from brikk_workflow.domain.schedule import Cause, RunState, Schedule, make_run
from brikk_workflow.domain.ticking import Queue, Turn
from brikk_workflow.store.schedule_runs import (
    OPEN,
    WAITING,
    WITH_EXECUTION,
    add_runs,
    count_waiting,
    drop_waiting_ticks,
)
from brikk_workflow.store.schedules import to_schedule
from brikk_workflow.store.tables import EXECUTION, SCHEDULE, SCHEDULE_RUN
from brikk_workflow.store.wishes import MAX_UNREAD

_TURN = {
    "uid": "text",
    "position": "timestamp",
    "next_time": "timestamp",
    "runs": "bigint",
    "skipped": "bigint",
    "missed": "bigint",
}
_BUSY = exists(
    select(1).select_from(WITH_EXECUTION).where(SCHEDULE_RUN.c.uid == SCHEDULE.c.uid, OPEN)
).correlate(SCHEDULE)


async def store_time(connection: AsyncConnection, database: Database) -> datetime:
    """Return the time by the store's clock: whoever decides goes by this one."""
    now = await connection.execute(text(f"SELECT {database.now_sql}"))
    return from_microseconds(now.scalar_one())


async def lock_due(
    connection: AsyncConnection, database: Database, *, limit: int
) -> Sequence[Schedule]:
    """Return schedules that have ticks due, or a run that waits for nothing any more.

    Until the transaction ends nobody else decides about them, or changes them.
    """
    now = text(f"(SELECT {database.now_sql})")
    ticking = select(SCHEDULE).where(SCHEDULE.c.next_time <= now).order_by(SCHEDULE.c.next_time)
    waiting = select(SCHEDULE_RUN.c.uid).where(WAITING)
    vacant = select(SCHEDULE).where(SCHEDULE.c.uid.in_(waiting), ~_BUSY)
    found: dict[str, Schedule] = {}
    for query in (ticking, vacant):
        some = query.limit(limit).with_for_update(skip_locked=True)
        found |= {row.uid: to_schedule(row) for row in await connection.execute(some)}
    return list(found.values())


async def promote(connection: AsyncConnection, database: Database, uids: Collection[str]) -> None:
    """Let the oldest waiting run of each schedule start that has none under way; needs the lock."""
    oldest = (
        select(SCHEDULE_RUN.c.run_key)
        .where(SCHEDULE_RUN.c.uid == SCHEDULE.c.uid, WAITING)
        .order_by(SCHEDULE_RUN.c.tick, SCHEDULE_RUN.c.run_key)
        .limit(1)
        .correlate(SCHEDULE)
        .scalar_subquery()
    )
    await connection.execute(
        update(SCHEDULE_RUN)
        .where(SCHEDULE_RUN.c.run_key.in_(select(oldest).where(SCHEDULE.c.uid.in_(uids), ~_BUSY)))
        .values(state=RunState.PENDING, attempt_at=text(database.now_sql))
    )


async def read_queues(connection: AsyncConnection, uids: Collection[str]) -> Mapping[str, Queue]:
    """Return what runs and waits of schedules, by uid."""
    waiting = await count_waiting(connection, uids)
    busy = select(SCHEDULE.c.uid).where(SCHEDULE.c.uid.in_(uids), _BUSY)
    running = set((await connection.execute(busy)).scalars())
    totals: defaultdict[str, int] = defaultdict(int)
    for (uid, _), count in waiting.items():
        totals[uid] += count
    return {
        uid: Queue(
            busy=uid in running, waiting=totals[uid], ticks=waiting.get((uid, Cause.TICK), 0)
        )
        for uid in uids
    }


async def running_executions(
    connection: AsyncConnection, uids: Collection[str]
) -> Sequence[tuple[str, str]]:
    """Return the executions of schedules that go on, each with its schedule's uid.

    Those left out have so many wishes already that no further one is recorded.
    """
    query = (
        select(SCHEDULE_RUN.c.uid, EXECUTION.c.execution_id)
        .select_from(WITH_EXECUTION)
        .where(
            SCHEDULE_RUN.c.uid.in_(uids),
            OPEN,
            EXECUTION.c.inbox_seq - EXECUTION.c.inbox_folded < MAX_UNREAD,
        )
    )
    return [(row.uid, row.execution_id) for row in await connection.execute(query)]


async def write_turns(
    connection: AsyncConnection, database: Database, turns: Sequence[Turn]
) -> None:
    """Record what was decided, all of it or nothing: the runs, and where each schedule stands."""
    rows = [
        {
            "uid": each.schedule.uid,
            "position": each.schedule.position,
            "next_time": each.schedule.next_time,
            "runs": each.schedule.counts.runs,
            "skipped": each.schedule.counts.skipped,
            "missed": each.schedule.counts.missed,
        }
        for each in turns
    ]
    statement = text(_WRITE.format(source=batch_source(database.dialect, _TURN)))
    await connection.execute(statement, batch_params(database.dialect, _TURN, rows))
    displaced = [each.schedule.uid for each in turns if each.queue.drop]
    if displaced:
        await drop_waiting_ticks(connection, displaced)
    runs = [
        (each.schedule.uid, make_run(each.schedule, Cause.TICK, tick, state))
        for each in turns
        for state, ticks in (
            (RunState.PENDING, each.queue.start),
            (RunState.WAITING, each.queue.wait),
        )
        for tick in ticks
    ]
    if runs:
        await add_runs(connection, database, runs)


_WRITE = """
UPDATE schedule SET
    position = b.position, next_time = b.next_time,
    runs = b.runs, skipped = b.skipped, missed = b.missed
FROM {source} WHERE schedule.uid = b.uid
"""
