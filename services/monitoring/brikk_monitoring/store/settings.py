"""Settings of organisations: what people say of who is told, each kind under its collection."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Row, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_monitoring.domain.escalation import EscalationPolicy
from brikk_monitoring.domain.maintenance import MaintenanceWindow
from brikk_monitoring.domain.route import RoutingTree
from brikk_monitoring.domain.setting import Setting
from brikk_monitoring.domain.silence import Silence
from brikk_monitoring.store.tables import ALERTING_SETTING as SETTING
from brikk_shared.errors import AlreadyExists, Reason, ResourceExhausted, request_id_reused
from brikk_shared.turns import take_turn

QUOTA: Final = 200
"""Settings of a kind that an organisation may have, but for silences that have ended."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind(Generic[T]):
    """A kind of setting.

    Args:
        collection: as names begin, for instance `silences`.
        form: writes and reads the content as JSON.
    """

    collection: str
    form: TypeAdapter[T]

    def name(self, setting_id: str) -> str:
        """Return the full name of a setting."""
        return f"{self.collection}/{setting_id}"


SILENCES: Final = Kind(collection="silences", form=TypeAdapter(Silence))
MAINTENANCE_WINDOWS: Final = Kind(
    collection="maintenanceWindows", form=TypeAdapter(MaintenanceWindow)
)
ESCALATION_POLICIES: Final = Kind(
    collection="escalationPolicies", form=TypeAdapter(EscalationPolicy)
)
ROUTING_TREES: Final = Kind(collection="routingTree", form=TypeAdapter(RoutingTree))
"""One to an organisation, with an empty id."""


async def take_routing_turn(connection: AsyncConnection, organization: str) -> None:
    """Let nobody else change the routes, or what they name, in this transaction."""
    await take_turn(connection, f"routing of {organization}")


async def create(
    connection: AsyncConnection,
    kind: Kind[T],
    setting: Setting[T],
    *,
    request_id: str = "",
    request_digest: bytes = b"",
) -> Setting[T]:
    """Keep a setting; when the same request kept one before, change nothing and return that one.

    Raises:
        AlreadyExists: another has the id.
        InvalidArgument: another request had the request id.
        ResourceExhausted: the organisation has as many as it may.
    """
    # For the quota, an organisation's creations take turns.
    await take_turn(connection, f"{kind.collection} of {setting.organization}")
    mine = _mine(kind, setting.organization)
    if request_id:
        asked = select(SETTING).where(*mine, SETTING.c.request_id == request_id)
        before = (await connection.execute(asked)).one_or_none()
        if before is not None and before.request_digest == request_digest:
            return _setting(kind, before)
        if before is not None:
            raise request_id_reused(request_id)
    if await get(connection, kind, setting.organization, setting.id) is not None:
        name = kind.name(setting.id)
        raise AlreadyExists(
            Reason.RESOURCE_EXISTS, f"{name} exists already", metadata={"resource": name}
        )
    lasting = _lasting(setting.create_time)
    count = select(func.count()).select_from(SETTING).where(*mine, *lasting)
    if (await connection.execute(count)).scalar_one() >= QUOTA:
        raise ResourceExhausted(
            Reason.QUOTA_EXCEEDED,
            f"the organisation has {QUOTA} {kind.collection}, which is as many as it may",
            metadata={"quota": kind.collection, "limit": str(QUOTA)},
        )
    await connection.execute(
        insert(SETTING).values(
            organization=setting.organization,
            collection=kind.collection,
            id=setting.id,
            request_id=request_id or None,
            request_digest=request_digest,
            create_time=setting.create_time,
            **_changing(kind, setting),
        )
    )
    return setting


async def get(
    connection: AsyncConnection,
    kind: Kind[T],
    organization: str,
    setting_id: str,
    *,
    lock: bool = False,
) -> Setting[T] | None:
    """Return a setting; locked, nobody else changes it meanwhile."""
    query = select(SETTING).where(*_mine(kind, organization), SETTING.c.id == setting_id)
    if lock:
        query = query.with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _setting(kind, row)


async def find(
    connection: AsyncConnection, kind: Kind[T], organization: str, *, after: str, limit: int
) -> list[Setting[T]]:
    """Return settings by id, those after `after`."""
    query = (
        select(SETTING)
        .where(*_mine(kind, organization), SETTING.c.id > after)
        .order_by(SETTING.c.id)
        .limit(limit)
    )
    return [_setting(kind, row) for row in await connection.execute(query)]


@dataclass(frozen=True, kw_only=True, slots=True)
class InForce:
    """The settings of an organisation by id, but for silences that have ended."""

    silences: dict[str, Silence] = field(default_factory=dict)
    windows: dict[str, MaintenanceWindow] = field(default_factory=dict)
    policies: dict[str, EscalationPolicy] = field(default_factory=dict)
    trees: dict[str, RoutingTree] = field(default_factory=dict)

    @property
    def tree(self) -> RoutingTree:
        """The routes; none when nobody has said any."""
        return self.trees.get("", RoutingTree())


async def in_force(
    connection: AsyncConnection, organizations: Collection[str], now: datetime
) -> dict[str, InForce]:
    """Return the settings of organisations."""
    found = {organization: InForce() for organization in organizations}
    query = select(SETTING).where(SETTING.c.organization.in_(organizations), *_lasting(now))
    for row in await connection.execute(query):
        mine = found[row.organization]
        match row.collection:
            case SILENCES.collection:
                mine.silences[row.id] = _setting(SILENCES, row).content
            case MAINTENANCE_WINDOWS.collection:
                mine.windows[row.id] = _setting(MAINTENANCE_WINDOWS, row).content
            case ESCALATION_POLICIES.collection:
                mine.policies[row.id] = _setting(ESCALATION_POLICIES, row).content
            case _:
                mine.trees[row.id] = _setting(ROUTING_TREES, row).content
    return found


async def change(connection: AsyncConnection, kind: Kind[T], setting: Setting[T]) -> None:
    """Write what people changed of a setting that was read under lock."""
    changed = (
        update(SETTING)
        .where(*_mine(kind, setting.organization), SETTING.c.id == setting.id)
        .values(_changing(kind, setting))
    )
    await connection.execute(changed)


async def remove(connection: AsyncConnection, kind: Kind[T], setting: Setting[T]) -> None:
    """Delete a setting that was read under lock."""
    gone = delete(SETTING).where(*_mine(kind, setting.organization), SETTING.c.id == setting.id)
    await connection.execute(gone)


def _lasting(now: datetime) -> tuple[ColumnElement[bool]]:
    return (or_(SETTING.c.end_time.is_(None), SETTING.c.end_time > now),)


def _mine(kind: Kind[T], organization: str) -> tuple[ColumnElement[bool], ...]:
    return SETTING.c.organization == organization, SETTING.c.collection == kind.collection


def _changing(kind: Kind[T], setting: Setting[T]) -> dict[str, object]:
    return {
        "content": kind.form.dump_python(setting.content, mode="json"),
        "update_time": setting.update_time,
        "revision": setting.revision,
        "end_time": getattr(setting.content, "end_time", None),
    }


def _setting(kind: Kind[T], row: Row[Any]) -> Setting[T]:
    return Setting(
        organization=row.organization,
        id=row.id,
        content=kind.form.validate_python(row.content),
        revision=row.revision,
        create_time=row.create_time,
        update_time=row.update_time,
    )
