"""Alert rules, always of one organisation, but for those that are due."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_monitoring.domain.rule import Rule
from brikk_monitoring.store.definitions import from_document, to_document
from brikk_monitoring.store.tables import ALERT_RULE
from brikk_shared.errors import AlreadyExists, Reason, ResourceExhausted, request_id_reused
from brikk_shared.turns import take_turn


async def create_rule(
    connection: AsyncConnection, rule: Rule, *, request_id: str, request_digest: bytes, quota: int
) -> Rule:
    """Keep a rule; when the same request kept one before, change nothing and return that one.

    Raises:
        AlreadyExists: another rule has the id.
        InvalidArgument: another request had the request id.
        ResourceExhausted: the organisation has as many rules as it may.
    """
    # For the quota, an organisation's creations take turns.
    await take_turn(connection, f"alert rules of {rule.organization}")
    if request_id:
        mine = (ALERT_RULE.c.organization == rule.organization) & (
            ALERT_RULE.c.request_id == request_id
        )
        before = (await connection.execute(select(ALERT_RULE).where(mine))).one_or_none()
        if before is not None and before.request_digest == request_digest:
            return _rule(before)
        if before is not None:
            raise request_id_reused(request_id)
    if await get_rule(connection, rule.organization, rule.id) is not None:
        name = f"alertRules/{rule.id}"
        raise AlreadyExists(
            Reason.RESOURCE_EXISTS, f"{name} exists already", metadata={"resource": name}
        )
    count = select(func.count()).where(ALERT_RULE.c.organization == rule.organization)
    if (await connection.execute(count)).scalar_one() >= quota:
        raise ResourceExhausted(
            Reason.QUOTA_EXCEEDED,
            f"the organisation has {quota} alert rules, which is as many as it may",
            metadata={"quota": "alert_rules", "limit": str(quota)},
        )
    await connection.execute(
        insert(ALERT_RULE).values(
            uid=rule.uid,
            organization=rule.organization,
            id=rule.id,
            request_id=request_id or None,
            request_digest=request_digest,
            create_time=rule.create_time,
            shard=rule.shard,
            **_changing(rule),
        )
    )
    return rule


async def get_rule(
    connection: AsyncConnection, organization: str, rule_id: str, *, lock: bool = False
) -> Rule | None:
    """Return a rule; locked, nobody else changes or evaluates it meanwhile."""
    query = select(ALERT_RULE).where(
        ALERT_RULE.c.organization == organization, ALERT_RULE.c.id == rule_id
    )
    if lock:
        query = query.with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _rule(row)


async def list_rules(
    connection: AsyncConnection, organization: str, *, after: str, limit: int
) -> list[Rule]:
    """Return rules by id, those after `after`."""
    query = (
        select(ALERT_RULE)
        .where(ALERT_RULE.c.organization == organization, ALERT_RULE.c.id > after)
        .order_by(ALERT_RULE.c.id)
        .limit(limit)
    )
    return [_rule(row) for row in await connection.execute(query)]


async def change_rule(connection: AsyncConnection, rule: Rule) -> None:
    """Write what people changed of a rule that was read under lock."""
    changed = update(ALERT_RULE).where(ALERT_RULE.c.uid == rule.uid).values(_changing(rule))
    await connection.execute(changed)


async def delete_rule(connection: AsyncConnection, rule: Rule) -> None:
    """Delete a rule that was read under lock."""
    await connection.execute(delete(ALERT_RULE).where(ALERT_RULE.c.uid == rule.uid))


async def due_rules(
    connection: AsyncConnection, shard: int, now: datetime, *, limit: int
) -> Sequence[tuple[Rule, datetime]]:
    """Return rules of a shard that are due, and since when, the longest due first."""
    query = (
        select(ALERT_RULE)
        .where(ALERT_RULE.c.shard == shard, ALERT_RULE.c.due_at <= now)
        .order_by(ALERT_RULE.c.due_at)
        .limit(limit)
    )
    return [(_rule(row), row.due_at) for row in await connection.execute(query)]


async def next_due(connection: AsyncConnection, shard: int) -> datetime | None:
    """Say when a rule of a shard is next due; None when it has none."""
    query = select(func.min(ALERT_RULE.c.due_at)).where(ALERT_RULE.c.shard == shard)
    found: datetime | None = (await connection.execute(query)).scalar_one()
    return found


def _changing(rule: Rule) -> dict[str, object]:
    disabled = rule.definition.disabled
    return {
        "definition": to_document(rule.definition),
        "update_time": rule.update_time,
        "revision": rule.revision,
        "due_at": None if disabled else rule.due_after(rule.update_time),
    }


def _rule(row: Row[Any]) -> Rule:
    return Rule(
        uid=row.uid,
        organization=row.organization,
        id=row.id,
        definition=from_document(row.definition),
        revision=row.revision,
        create_time=row.create_time,
        update_time=row.update_time,
    )
