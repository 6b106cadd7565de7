"""Groups of alerts, and which alerts are in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import Row, TextClause, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_monitoring.domain.alert import AlertState
from brikk_monitoring.domain.escalation import Escalation
from brikk_monitoring.domain.grouping import Group, Told, shard_of
from brikk_monitoring.domain.matcher import Labels
from brikk_monitoring.store.tables import ALERT, ALERT_GROUP, ALERT_GROUP_MEMBER
from brikk_shared.batch import Dialect, batch_params, batch_source
from brikk_shared.types import to_json

FIRES: Final = tuple(state.value for state in AlertState if state.fires)

_GROUP: Final = {
    "uid": "text",
    "organization": "text",
    "shard": "bigint",
    "route": "text",
    "labels": "text",
    "due_at": "timestamp",
    "sequence": "bigint",
    "memory": "text",
}
_KEY: Final = {"organization": "text", "route": "text", "labels": "text"}
# As the index says it: SQLite uses a partial one only where a query repeats its condition.
_UNROUTED: Final = text("state IN (2, 3, 4) AND routed_episode <> episode")
_MEMBER: Final = {"group_uid": "text", "alert_id": "text"}
_ID: Final = {"id": "text"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Memory:
    told: Mapping[str, Told] = field(default_factory=dict)
    withheld: Mapping[str, str] = field(default_factory=dict)
    escalation: Escalation | None = None


_FORM: Final = TypeAdapter(_Memory)

Key = tuple[str, str, str]
"""Organisation, route and group labels as JSON."""
Membership = tuple[str, str]
"""The uid of a group, and the id of an alert."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Firing:
    """An alert that may be told of."""

    id: str
    organization: str
    labels: Labels
    state: AlertState
    firing_since: datetime
    """Of one that does not fire any more, when it last began to hold."""
    acknowledged_at: datetime | None


_FIRING: Final = tuple(
    ALERT.c[name]
    for name in (
        "id",
        "organization",
        "labels",
        "state",
        "pending_since",
        "firing_since",
        "acknowledged_at",
    )
)


def key_of(organization: str, route: str, labels: Labels) -> Key:
    """Return what tells a group from others."""
    return organization, route, to_json(dict(sorted(labels.items())))


class Groups:
    """Reads and writes groups, many at a time."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._by_key = text(
            f"SELECT g.uid, b.organization, b.route, b.labels FROM {batch_source(dialect, _KEY)}"
            " JOIN alert_group g ON g.organization = b.organization AND g.route = b.route"
            " AND g.labels = b.labels"
        )
        names = ", ".join(_GROUP)
        changing = ", ".join(
            f"{name} = excluded.{name}" for name in ("due_at", "sequence", "memory")
        )
        self._write = text(
            f"INSERT INTO alert_group ({names}) SELECT {', '.join(f'b.{name}' for name in _GROUP)}"
            f" FROM {batch_source(dialect, _GROUP)} WHERE true"
            f" ON CONFLICT (uid) DO UPDATE SET {changing}"
        )
        self._leave = text(
            "DELETE FROM alert_group_member WHERE alert_id IN"
            f" (SELECT b.id FROM {batch_source(dialect, _ID)})"
        )
        self._enter = text(
            "INSERT INTO alert_group_member (group_uid, alert_id)"
            f" SELECT b.group_uid, b.alert_id FROM {batch_source(dialect, _MEMBER)}"
        )
        self._part = text(
            "DELETE FROM alert_group_member WHERE (group_uid, alert_id) IN"
            f" (SELECT b.group_uid, b.alert_id FROM {batch_source(dialect, _MEMBER)})"
        )
        self._routed = text(
            "UPDATE alert SET routed_episode = episode WHERE id IN"
            f" (SELECT b.id FROM {batch_source(dialect, _ID)})"
        )

    async def unrouted_organizations(self, connection: AsyncConnection) -> list[str]:
        """Return organisations with alerts that fire and are in no group yet."""
        query = select(ALERT.c.organization).where(_UNROUTED).distinct()
        return list((await connection.execute(query)).scalars())

    async def lock_unrouted(
        self, connection: AsyncConnection, organization: str, *, limit: int
    ) -> list[Firing]:
        """Return alerts that fire and are in no group yet, which nobody changes meanwhile."""
        query = (
            select(*_FIRING)
            .where(_UNROUTED, ALERT.c.organization == organization)
            .order_by(ALERT.c.id)
            .limit(limit)
            .with_for_update()
        )
        return [_firing(row) for row in await connection.execute(query)]

    async def route_anew(self, connection: AsyncConnection, organization: str) -> None:
        """Have all alerts that fire go by the routes that there are by now."""
        firing = ALERT.c.organization == organization, ALERT.c.state.in_(FIRES)
        # In the order in which others lock them, lest two wait for one another.
        await connection.execute(
            select(ALERT.c.id).where(*firing).order_by(ALERT.c.id).with_for_update()
        )
        await connection.execute(update(ALERT).where(*firing).values(routed_episode=-1))

    async def uids(self, connection: AsyncConnection, keys: Collection[Key]) -> dict[Key, str]:
        """Return the groups that there are of some."""
        rows = [dict(zip(_KEY, key, strict=True)) for key in keys]
        found = await connection.execute(self._by_key, batch_params(self._dialect, _KEY, rows))
        return {(row.organization, row.route, row.labels): row.uid for row in found}

    async def enter(
        self, connection: AsyncConnection, alert_ids: Sequence[str], members: Sequence[Membership]
    ) -> None:
        """Put alerts that were locked into groups, and take them out of all others."""
        ids = batch_params(self._dialect, _ID, [{"id": each} for each in alert_ids])
        await connection.execute(self._leave, ids)
        await connection.execute(self._routed, ids)
        await self._each_member(connection, self._enter, members)

    async def next_due(self, connection: AsyncConnection, shard: int) -> datetime | None:
        """Say when the time of a group comes next; None when there is none."""
        query = select(func.min(ALERT_GROUP.c.due_at)).where(ALERT_GROUP.c.shard == shard)
        found: datetime | None = (await connection.execute(query)).scalar_one()
        return found

    async def due(
        self, connection: AsyncConnection, shard: int, now: datetime, *, limit: int
    ) -> list[Group]:
        """Return groups whose time has come, those first that have waited longest."""
        query = (
            select(ALERT_GROUP)
            .where(ALERT_GROUP.c.shard == shard, ALERT_GROUP.c.due_at <= now)
            .order_by(ALERT_GROUP.c.due_at)
            .limit(limit)
        )
        return [_group(row) for row in await connection.execute(query)]

    async def of_alert(self, connection: AsyncConnection, alert_id: str) -> list[Group]:
        """Return the groups that an alert is in."""
        query = (
            select(ALERT_GROUP)
            .join(ALERT_GROUP_MEMBER, ALERT_GROUP_MEMBER.c.group_uid == ALERT_GROUP.c.uid)
            .where(ALERT_GROUP_MEMBER.c.alert_id == alert_id)
        )
        return [_group(row) for row in await connection.execute(query)]

    async def members(
        self, connection: AsyncConnection, group_uids: Collection[str]
    ) -> dict[str, list[Firing]]:
        """Return the alerts of groups, by the uid of the group."""
        query = (
            select(ALERT_GROUP_MEMBER.c.group_uid, *_FIRING)
            .join(ALERT, ALERT.c.id == ALERT_GROUP_MEMBER.c.alert_id)
            .where(ALERT_GROUP_MEMBER.c.group_uid.in_(group_uids))
            .order_by(ALERT.c.id)
        )
        found: dict[str, list[Firing]] = {uid: [] for uid in group_uids}
        for row in await connection.execute(query):
            found[row.group_uid].append(_firing(row))
        return found

    async def firing(
        self, connection: AsyncConnection, organizations: Collection[str]
    ) -> dict[str, dict[str, Labels]]:
        """Return the labels of all alerts that fire, by organisation and id."""
        query = select(ALERT.c.organization, ALERT.c.id, ALERT.c.labels).where(
            ALERT.c.organization.in_(organizations), ALERT.c.state.in_(FIRES)
        )
        found: dict[str, dict[str, Labels]] = {each: {} for each in organizations}
        for row in await connection.execute(query):
            found[row.organization][row.id] = row.labels
        return found

    async def write(self, connection: AsyncConnection, groups: Sequence[Group]) -> None:
        """Write groups that are new, or have moved on."""
        if groups:
            params = batch_params(self._dialect, _GROUP, [_row(group) for group in groups])
            await connection.execute(self._write, params)

    async def part(self, connection: AsyncConnection, members: Sequence[Membership]) -> None:
        """Take alerts out of groups."""
        await self._each_member(connection, self._part, members)

    async def remove(self, connection: AsyncConnection, group_uids: Collection[str]) -> None:
        """Remove groups that have ended."""
        if group_uids:
            member, group = ALERT_GROUP_MEMBER, ALERT_GROUP
            await connection.execute(delete(member).where(member.c.group_uid.in_(group_uids)))
            await connection.execute(delete(group).where(group.c.uid.in_(group_uids)))

    async def _each_member(
        self, connection: AsyncConnection, statement: TextClause, members: Sequence[Membership]
    ) -> None:
        if members:
            rows = [dict(zip(_MEMBER, each, strict=True)) for each in members]
            await connection.execute(statement, batch_params(self._dialect, _MEMBER, rows))


def _row(group: Group) -> dict[str, object]:
    memory = _Memory(told=group.told, withheld=group.withheld, escalation=group.escalation)
    return {
        "uid": group.uid,
        "organization": group.organization,
        "shard": shard_of(group.organization),
        "route": group.route,
        "labels": to_json(dict(sorted(group.labels.items()))),
        "due_at": group.due_at,
        "sequence": group.sequence,
        "memory": to_json(_FORM.dump_python(memory, mode="json")),
    }


def _group(row: Row[Any]) -> Group:
    memory = _FORM.validate_python(row.memory)
    return Group(
        uid=row.uid,
        organization=row.organization,
        route=row.route,
        labels=row.labels,
        due_at=row.due_at,
        sequence=row.sequence,
        told=memory.told,
        withheld=memory.withheld,
        escalation=memory.escalation,
    )


def _firing(row: Row[Any]) -> Firing:
    return Firing(
        id=row.id,
        organization=row.organization,
        labels=row.labels,
        state=AlertState(row.state),
        firing_since=row.firing_since or row.pending_since,
        acknowledged_at=row.acknowledged_at,
    )
