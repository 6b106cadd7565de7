"""Places for executions under the limits of their workflow and organisation, counted under a lock.

A place is no row: an execution without `queue_rank` holds one until it ends, so that whatever ends
it gives it back in the same transaction, and whoever takes over an execution has its place too.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, delete, func, select, text, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.database import Database
from brikk_workflow.domain.admission import Waiting, admitted, permit
from brikk_workflow.domain.state import ExecutionStatus
from brikk_workflow.store.tables import EXECUTION, PERMIT

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:organization, 7412))")
# Each step of the recursions is one look into the index, however many wait.
_ORGANIZATIONS = text(
    """
WITH RECURSIVE waiting (organization) AS (
    SELECT min(organization) FROM execution WHERE queue_rank IS NOT NULL AND end_time IS NULL
    UNION ALL
    SELECT (
        SELECT min(organization) FROM execution
        WHERE queue_rank IS NOT NULL AND end_time IS NULL
            AND organization > waiting.organization
    )
    FROM waiting WHERE waiting.organization IS NOT NULL
)
SELECT organization FROM waiting WHERE organization IS NOT NULL
"""
)
_WORKFLOWS = text(
    """
WITH RECURSIVE waiting (workflow_id) AS (
    SELECT min(workflow_id) FROM execution
    WHERE queue_rank IS NOT NULL AND end_time IS NULL AND organization = :organization
    UNION ALL
    SELECT (
        SELECT min(workflow_id) FROM execution
        WHERE queue_rank IS NOT NULL AND end_time IS NULL AND organization = :organization
            AND workflow_id > waiting.workflow_id
    )
    FROM waiting WHERE waiting.workflow_id IS NOT NULL
)
SELECT workflow_id FROM waiting WHERE workflow_id IS NOT NULL
"""
)
_FORGET_DEAD = """
DELETE FROM permit WHERE organization = :organization AND NOT EXISTS (
    SELECT 1 FROM lease WHERE lease.name = permit.replica AND lease.expires_at > {now}
)
"""
_PERMIT = text(
    """
INSERT INTO permit (organization, replica, places) VALUES (:organization, :replica, :places)
ON CONFLICT (organization, replica) DO UPDATE SET places = excluded.places
"""
)
_OPEN = EXECUTION.c.end_time.is_(None)
_PLACED = and_(_OPEN, EXECUTION.c.queue_rank.is_(None))
_QUEUED = and_(_OPEN, EXECUTION.c.queue_rank.is_not(None))


async def waiting_organizations(connection: AsyncConnection) -> Sequence[str]:
    """Returns the organisations of which executions wait for a place."""
    return (await connection.execute(_ORGANIZATIONS)).scalars().all()


async def renew_permit(
    connection: AsyncConnection,
    database: Database,
    organization: str,
    replica: str,
    *,
    given: int,
    wanted: int,
    max_running: int,
) -> int:
    """Returns how many places the replica may give away from now on; 0 when none is free.

    What it permits counts as taken for all others. `given` are the places that the replica gave
    to executions which it has not committed yet.
    """
    await _lock(connection, database, organization)
    forget = text(_FORGET_DEAD.format(now=database.now_sql))
    await connection.execute(forget, {"organization": organization})
    running = select(func.count()).where(EXECUTION.c.organization == organization, _PLACED)
    others = select(func.coalesce(func.sum(PERMIT.c.places), 0)).where(
        PERMIT.c.organization == organization, PERMIT.c.replica != replica
    )
    taken = (await connection.execute(running)).scalar_one()
    taken += int((await connection.execute(others)).scalar_one())
    places = permit(max_running - taken - given, wanted)
    await connection.execute(
        _PERMIT, {"organization": organization, "replica": replica, "places": places + given}
    )
    return places


async def return_permit(
    connection: AsyncConnection, organization: str, replica: str, *, given: int
) -> None:
    """Gives back all places of a replica but those it has given away."""
    ours = and_(PERMIT.c.organization == organization, PERMIT.c.replica == replica)
    await connection.execute(
        update(PERMIT).where(ours).values(places=given) if given else delete(PERMIT).where(ours)
    )


async def admit(
    connection: AsyncConnection,
    database: Database,
    organization: str,
    replica: str,
    *,
    places: int,
) -> Sequence[str]:
    """Gives places to executions of an organisation that wait, and makes the replica their holder.

    The replica's permit allows so many. Those that somebody holds just now get theirs next time.
    """
    await _lock(connection, database, organization)
    workflows = (await connection.execute(_WORKFLOWS, {"organization": organization})).scalars()
    heads = [
        select(
            EXECUTION.c.execution_id,
            EXECUTION.c.workflow_id,
            EXECUTION.c.queue_rank,
            EXECUTION.c.concurrency,
        )
        .where(
            EXECUTION.c.organization == organization,
            EXECUTION.c.workflow_id == workflow_id,
            _QUEUED,
            EXECUTION.c.status == ExecutionStatus.QUEUED,
            EXECUTION.c.owner.is_(None),
        )
        .order_by(EXECUTION.c.queue_rank, EXECUTION.c.execution_id)
        .limit(places)
        .subquery()
        for workflow_id in workflows
    ]
    if not heads:
        return ()
    waiting = [
        Waiting(
            execution_id=row.execution_id,
            workflow_id=row.workflow_id,
            rank=row.queue_rank,
            concurrency=row.concurrency,
        )
        for row in await connection.execute(union_all(*(select(each) for each in heads)))
    ]
    limited = {each.workflow_id for each in waiting if each.concurrency is not None}
    running = (
        select(EXECUTION.c.workflow_id, func.count().label("running"))
        .where(
            EXECUTION.c.organization == organization,
            EXECUTION.c.workflow_id.in_(limited),
            EXECUTION.c.concurrency.is_not(None),
            _PLACED,
        )
        .group_by(EXECUTION.c.workflow_id)
    )
    counts: dict[str, int] = {}
    if limited:
        counts = {row.workflow_id: row.running for row in await connection.execute(running)}
    chosen = admitted(waiting, counts, places)
    if not chosen:
        return ()
    taken = (
        update(EXECUTION)
        # Again, for a wish may have brought it to somebody meanwhile.
        .where(EXECUTION.c.execution_id.in_(chosen), EXECUTION.c.owner.is_(None), _QUEUED)
        .values(queue_rank=None, owner=replica, epoch=EXECUTION.c.epoch + 1)
        .returning(EXECUTION.c.execution_id)
    )
    admitted_ids: Sequence[str] = (await connection.execute(taken)).scalars().all()
    return admitted_ids


async def _lock(connection: AsyncConnection, database: Database, organization: str) -> None:
    """Keeps everybody else from counting until the transaction ends, as SQLite does anyway."""
    if database.dialect == "postgresql":
        await connection.execute(_LOCK, {"organization": organization})
