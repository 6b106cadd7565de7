"""Schedules as people write and read them, always of one organisation."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.errors import AlreadyExists, InvalidArgument, Reason, ResourceExhausted
from brikk_shared.turns import take_turn
from brikk_workflow.domain.schedule import Counts, Schedule
from brikk_workflow.store.plans import PlanJson, plan_from_json, plan_to_json
from brikk_workflow.store.tables import SCHEDULE, SCHEDULE_RUN


async def add_schedule(
    connection: AsyncConnection,
    schedule: Schedule,
    *,
    request_id: str,
    request_digest: bytes,
    quota: int,
    dry: bool,
) -> Schedule:
    """Keep a schedule unless `dry`; when the same request made one before, return that one.

    Raises:
        AlreadyExists: another schedule has the id.
        InvalidArgument: another request had the request id.
        ResourceExhausted: the organisation has as many schedules as it may.
    """
    organization = schedule.organization
    # For the quota, an organisation's creations take turns.
    await take_turn(connection, f"schedules of {organization}")
    if request_id:
        mine = (SCHEDULE.c.organization == organization) & (SCHEDULE.c.request_id == request_id)
        before = (await connection.execute(select(SCHEDULE).where(mine))).one_or_none()
        if before is not None and before.request_digest == request_digest:
            return to_schedule(before)
        if before is not None:
            raise InvalidArgument(
                Reason.REQUEST_ID_REUSED,
                f"request id {request_id} was used for another schedule",
                metadata={"request_id": request_id},
            )
    if await get_schedule(connection, organization, schedule.schedule_id) is not None:
        name = f"schedules/{schedule.schedule_id}"
        raise AlreadyExists(
            Reason.RESOURCE_EXISTS,
            f"{name} exists already: update it",
            metadata={"resource": name},
        )
    count = select(func.count()).where(SCHEDULE.c.organization == organization)
    if (await connection.execute(count)).scalar_one() >= quota:
        raise ResourceExhausted(
            Reason.QUOTA_EXCEEDED,
            f"the organisation has {quota} schedules, which is as many as it may",
            metadata={"quota": "schedules", "limit": str(quota)},
        )
    if not dry:
        await connection.execute(
            insert(SCHEDULE).values(
                uid=schedule.uid,
                organization=organization,
                schedule_id=schedule.schedule_id,
                request_id=request_id or None,
                request_digest=request_digest,
                create_time=schedule.create_time,
                **_changing(schedule),
            )
        )
    return schedule


async def get_schedule(
    connection: AsyncConnection, organization: str, schedule_id: str, *, lock: bool = False
) -> Schedule | None:
    """Return a schedule; `lock` keeps others from changing it until the transaction ends."""
    query = select(SCHEDULE).where(
        SCHEDULE.c.organization == organization, SCHEDULE.c.schedule_id == schedule_id
    )
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else to_schedule(row)


async def list_schedules(
    connection: AsyncConnection, organization: str, *, after: str, limit: int
) -> list[Schedule]:
    """Return schedules by id, those after `after`."""
    query = (
        select(SCHEDULE)
        .where(SCHEDULE.c.organization == organization, SCHEDULE.c.schedule_id > after)
        .order_by(SCHEDULE.c.schedule_id)
        .limit(limit)
    )
    return [to_schedule(row) for row in await connection.execute(query)]


async def change_schedule(connection: AsyncConnection, schedule: Schedule) -> None:
    """Write what people changed of a schedule that was read under lock."""
    await connection.execute(
        update(SCHEDULE).where(SCHEDULE.c.uid == schedule.uid).values(_changing(schedule))
    )


async def delete_schedule(connection: AsyncConnection, organization: str, schedule_id: str) -> bool:
    """Delete a schedule with its runs; tell whether there was one."""
    gone = (
        delete(SCHEDULE)
        .where(SCHEDULE.c.organization == organization, SCHEDULE.c.schedule_id == schedule_id)
        .returning(SCHEDULE.c.uid)
    )
    uid = (await connection.execute(gone)).scalar_one_or_none()
    if uid is None:
        return False
    await connection.execute(delete(SCHEDULE_RUN).where(SCHEDULE_RUN.c.uid == uid))
    return True


def to_schedule(row: Row[Any]) -> Schedule:
    """Turn a row of the schedule table into what the rooms above know."""
    return Schedule(
        organization=row.organization,
        schedule_id=row.schedule_id,
        uid=row.uid,
        plan=plan_from_json(cast("PlanJson", row.plan)),
        paused=row.paused,
        reason=row.reason,
        revision=row.revision,
        counts=Counts(runs=row.runs, skipped=row.skipped, missed=row.missed, failed=row.failed),
        position=row.position,
        next_time=row.next_time,
        create_time=row.create_time,
        update_time=row.update_time,
    )


def _changing(schedule: Schedule) -> dict[str, object]:
    return {
        "plan": plan_to_json(schedule.plan),
        "paused": schedule.paused,
        "reason": schedule.reason,
        "revision": schedule.revision,
        "position": schedule.position,
        "next_time": schedule.next_time,
        "update_time": schedule.update_time,
        **asdict(schedule.counts),
    }
