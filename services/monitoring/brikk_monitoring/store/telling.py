"""Who is told of alerts: those that begin to fire are put into groups, whose time comes again.

Each step is one transaction, which the lease of the shard fences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_monitoring.domain.alert import AlertState
from brikk_monitoring.domain.grouping import Group, Member, Terms, flush, shard_of
from brikk_monitoring.domain.inhibition import Inhibitors
from brikk_monitoring.domain.muting import Mutes
from brikk_monitoring.domain.notification import Notification, decided
from brikk_monitoring.domain.route import Routing
from brikk_monitoring.store.alerts import Alerts
from brikk_monitoring.store.groups import Firing, Groups, Key, Membership, key_of
from brikk_monitoring.store.notifications import add_notifications
from brikk_monitoring.store.settings import InForce, in_force
from brikk_shared.database import Database
from brikk_shared.ids import new_id
from brikk_shared.leases import Lease, Leases

_ALERTS: Final = 1000
_GROUPS: Final = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What there is to do in a shard."""

    organizations: Sequence[str]
    """Those with alerts that are in no group yet."""
    next_due: datetime | None
    """When the time of a group comes next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What decides who is told of the alerts of an organisation at a moment."""

    settings: InForce
    routing: Routing
    mutes: Mutes

    def muted(self, alert: Firing) -> str:
        """Return why nobody is told of an alert; empty when people are."""
        return self.mutes.reason(alert.labels, snoozed=alert.state is AlertState.SNOOZED)


class Telling:
    """Decides who is told of what, and writes that down."""

    def __init__(self, database: Database, leases: Leases, alerts: Alerts) -> None:
        self._database = database
        self._leases = leases
        self._alerts = alerts
        self.groups = Groups(database.dialect)

    async def waiting(self, shard: int) -> Waiting:
        """Return what there is to do in a shard.

        Raises:
            Unavailable: the store does not answer.
        """
        async with self._database.reading() as connection:
            organizations = await self.groups.unrouted_organizations(connection)
            return Waiting(
                organizations=[each for each in organizations if shard_of(each) == shard],
                next_due=await self.groups.next_due(connection, shard),
            )

    async def route(self, lease: Lease, organization: str, now: datetime) -> int:
        """Put alerts that begin to fire into their groups; return how many, 1,000 at most.

        Raises:
            LeaseLost: another does that by now; nothing happened.
            Unavailable: the store does not answer.
        """
        async with self._database.transaction(audit=()) as connection:
            await self._leases.assert_held(connection, lease)
            alerts = await self.groups.lock_unrouted(connection, organization, limit=_ALERTS)
            settings = await in_force(connection, [organization], now)
            wanted, places = _places(alerts, Routing(settings[organization].tree))
            uids = await self.groups.uids(connection, wanted)
            await self.groups.write(
                connection, [group for key, group in wanted.items() if key not in uids]
            )
            uids = {key: group.uid for key, group in wanted.items()} | uids
            await self.groups.enter(
                connection,
                [alert.id for alert in alerts],
                [(uids[key], alert_id) for key, alert_id in places],
            )
        return len(alerts)

    async def flush(self, lease: Lease, shard: int, now: datetime) -> Sequence[Notification]:
        """Tell of the groups whose time has come, 500 at most, and let their time come again.

        Raises:
            LeaseLost: another does that by now; nothing happened.
            Unavailable: the store does not answer.
        """
        async with self._database.transaction(audit=()) as connection:
            await self._leases.assert_held(connection, lease)
            groups = await self.groups.due(connection, shard, now, limit=_GROUPS)
            contexts = await self.contexts(connection, {each.organization for each in groups}, now)
            found = await self.groups.members(connection, [each.uid for each in groups])
            members = await self._doubt(connection, contexts, groups, found, now)
            moved: list[Group] = []
            ended: list[str] = []
            parted: list[Membership] = []
            notifications: list[Notification] = []
            for group in groups:
                context = contexts[group.organization]
                terms = _terms(context, group)
                if terms is None:  # the route is gone, and with it who was told
                    ended.append(group.uid)
                    continue
                mine = members[group.uid]
                flushed = flush(group, terms, [_member(each, context) for each in mine], now)
                notifications += [
                    decided(new_id(), group, place, notice, now)
                    for place, notice in enumerate(flushed.notices)
                ]
                if flushed.group is None:
                    ended.append(group.uid)
                    continue
                moved.append(flushed.group)
                heard = {name for told in flushed.group.told.values() for name in told.firing}
                parted += [
                    (group.uid, each.id)
                    for each in mine
                    if not each.state.fires and each.id not in heard
                ]
            await self.groups.write(connection, moved)
            await self.groups.part(connection, parted)
            await self.groups.remove(connection, ended)
            await add_notifications(connection, notifications)
        self._alerts.wake()
        return notifications

    async def contexts(
        self, connection: AsyncConnection, organizations: set[str], now: datetime
    ) -> dict[str, Context]:
        """Return what decides who is told of the alerts of organisations."""
        settings = await in_force(connection, organizations, now)
        inhibited = [name for name in organizations if settings[name].tree.inhibition_rules]
        firing = await self.groups.firing(connection, inhibited) if inhibited else {}
        return {
            name: Context(
                settings=mine,
                routing=Routing(mine.tree),
                mutes=Mutes(
                    mine.silences,
                    mine.windows,
                    Inhibitors(mine.tree.inhibition_rules, firing.get(name, {})),
                    now,
                ),
            )
            for name, mine in settings.items()
        }

    async def _doubt(
        self,
        connection: AsyncConnection,
        contexts: Mapping[str, Context],
        groups: Sequence[Group],
        members: Mapping[str, Sequence[Firing]],
        now: datetime,
    ) -> Mapping[str, Sequence[Firing]]:
        """Have alerts fire again that somebody has looked after for too long."""
        timeouts: dict[str, timedelta] = {}
        for group in groups:
            terms = _terms(contexts[group.organization], group)
            if terms is None or terms.policy is None or not terms.policy.acknowledge_timeout:
                continue
            timeout = terms.policy.acknowledge_timeout
            for alert in members[group.uid]:
                since = alert.acknowledged_at
                acknowledged = alert.state is AlertState.ACKNOWLEDGED
                if acknowledged and since is not None and now - since >= timeout:
                    timeouts[alert.id] = timeout
        if not timeouts:
            return members
        doubted = [
            alert.doubted(timeouts[alert.id], now)
            for alert in await self._alerts.lock(connection, list(timeouts))
        ]
        await self._alerts.write(connection, [each for each in doubted if each.transition])
        again = {each.alert.id for each in doubted if each.transition}
        return {
            uid: [
                replace(alert, state=AlertState.FIRING) if alert.id in again else alert
                for alert in mine
            ]
            for uid, mine in members.items()
        }


def _places(
    alerts: Sequence[Firing], routing: Routing
) -> tuple[Mapping[Key, Group], Sequence[tuple[Key, str]]]:
    """Return the groups that alerts belong in, as they are if they are new, and which in which."""
    wanted: dict[Key, Group] = {}
    places: list[tuple[Key, str]] = []
    for alert in alerts:
        for destination in routing.find(alert.labels):
            labels = destination.group_labels(alert.labels)
            key = key_of(alert.organization, destination.route, labels)
            places.append((key, alert.id))
            due_at = alert.firing_since + destination.group_wait
            if key not in wanted or due_at < wanted[key].due_at:
                wanted[key] = Group(
                    uid=new_id(),
                    organization=alert.organization,
                    route=destination.route,
                    labels=labels,
                    due_at=due_at,
                )
    return wanted, places


def _terms(context: Context, group: Group) -> Terms | None:
    destination = context.routing.destinations.get(group.route)
    if destination is None:
        return None
    policy = context.settings.policies.get(destination.escalation_policy)
    return Terms(destination=destination, policy=policy)


def _member(alert: Firing, context: Context) -> Member:
    acknowledged = alert.state is AlertState.ACKNOWLEDGED
    return Member(
        alert_id=alert.id,
        fires=alert.state.fires,
        answered=alert.state in (AlertState.ACKNOWLEDGED, AlertState.SNOOZED),
        acknowledged_at=alert.acknowledged_at if acknowledged else None,
        muted=context.muted(alert),
    )
