"""Who is told of alerts, as it is written down: once, over restarts, whatever comes between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from brikk_monitoring.domain.alert import Alert, AlertState, Changed
from brikk_monitoring.domain.condition import Finding
from brikk_monitoring.domain.escalation import EscalationPolicy, Level
from brikk_monitoring.domain.grouping import shard_of
from brikk_monitoring.domain.matcher import Matcher
from brikk_monitoring.domain.notification import Notification, NotificationState
from brikk_monitoring.domain.route import Route, RoutingTree
from brikk_monitoring.domain.rule import Absence, Definition, Inquiry, Severity
from brikk_monitoring.domain.setting import Setting
from brikk_monitoring.domain.silence import Silence
from brikk_monitoring.runtime.notifier import Notifier
from brikk_monitoring.store import settings
from brikk_monitoring.store.alerts import SOURCE, Alerts
from brikk_monitoring.store.notifications import find_notifications
from brikk_monitoring.store.settings import ESCALATION_POLICIES, ROUTING_TREES, SILENCES, Kind, T
from brikk_monitoring.store.telling import Telling
from brikk_shared.database import Database
from brikk_shared.ids import new_id
from brikk_shared.leases import Lease, LeaseLost, Leases
from brikk_shared.outbox import Outbox
from brikk_shared.testing import ManualClock

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SHARD = shard_of("acme")
RULE = Definition(inquiry=Inquiry(metric="calls"), condition=Absence())
FIRES, OVER = Finding(value=1, holds=True), Finding(value=0, holds=False)
TREE = RoutingTree(routes=(Route(id="root", channels=("ops",), group_by=("alertname",)),))
POLICY = EscalationPolicy(
    levels=(
        Level(channels=("ops",), timeout=10 * MINUTE),
        Level(channels=("boss",), timeout=10 * MINUTE),
    ),
    acknowledge_timeout=60 * MINUTE,
)


@dataclass(kw_only=True)
class Desk:
    """A database, time, and what tells of the alerts of an organisation."""

    database: Database
    alerts: Alerts
    clock: ManualClock
    known: dict[str, Alert] = field(default_factory=dict)
    lease: Lease | None = None
    notifier: Notifier | None = None
    seen: set[str] = field(default_factory=set)

    async def restart(self) -> None:
        """Go on as another replica that has taken the lease."""
        async with self.database.transaction() as connection:
            await connection.execute(text("UPDATE lease SET expires_at = 0"))
        leases = Leases(self.database, new_id(), self.clock)
        self.lease = await leases.acquire("telling", timedelta(hours=1))
        self.telling = Telling(self.database, leases, self.alerts)
        self.notifier = Notifier(self.telling, leases, CollectorRegistry(), self.clock)

    async def say(self, kind: Kind[T], content: T, setting_id: str = "") -> None:
        setting = Setting(
            organization="acme",
            id=setting_id,
            content=content,
            create_time=NOW,
            update_time=self.clock.now(),
        )
        async with self.database.transaction() as connection:
            if await settings.get(connection, kind, "acme", setting_id) is None:
                await settings.create(connection, kind, setting)
            else:
                await settings.change(connection, kind, setting)
            await self.telling.groups.route_anew(connection, "acme")

    async def observe(self, finding: Finding, *names: str, rule: str = "slow") -> None:
        changed = []
        for name in names:
            alert = self.known.get(name) or Alert(
                id=f"b{name}",
                organization="acme",
                rule_uid=rule,
                rule_id=rule,
                fingerprint=name,
                severity=Severity.WARNING,
                labels={"alertname": rule, "agent": name},
                annotations={},
                pending_since=self.clock.now(),
            )
            changed.append(alert.observed(finding, RULE, self.clock.now()))
        await self.write(changed)

    async def write(self, changed: Sequence[Changed]) -> None:
        async with self.database.transaction() as connection:
            await self.alerts.write(connection, changed)
        self.known |= {each.alert.fingerprint: each.alert for each in changed}

    async def tell(self, after: timedelta = timedelta(0)) -> list[tuple[str, int, str]]:
        """Let time pass, and return what is new: channel or reason, level, and of what."""
        self.clock.advance(after)
        assert self.notifier is not None
        assert self.lease is not None
        while not await self.notifier.tell(SHARD, self.lease):
            pass
        news = [each for each in await self.notifications() if each.id not in self.seen]
        self.seen |= {each.id for each in news}
        return [
            (
                each.channel or each.reason,
                each.level,
                " ".join([*each.firing, *(f"-{name}" for name in each.resolved)]),
            )
            for each in reversed(news)
        ]

    async def notifications(self, alert_id: str = "") -> list[Notification]:
        async with self.database.reading() as connection:
            return await find_notifications(
                connection,
                "acme",
                states=(),
                channel="",
                alert_id=alert_id,
                before="",
                limit=20_000,
            )

    async def rows(self) -> Mapping[str, int]:
        found = {}
        async with self.database.reading() as connection:
            for table in ("alert_group", "alert_group_member", "notification"):
                count = await connection.execute(text(f"SELECT count(*) FROM {table}"))
                found[table] = int(count.scalar_one())
        return found


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    migrations = "brikk_monitoring.store.migrations"
    async with Database(database_url, migrations=migrations) as database:
        outbox = Outbox(database, source=SOURCE, destinations=["webhooks"])
        desk = Desk(database=database, alerts=Alerts(database, outbox), clock=ManualClock(NOW))
        await desk.restart()
        await desk.say(ROUTING_TREES, TREE)
        yield desk


async def test_what_fires_is_told_once_whoever_looks_and_its_end_is_told(desk: Desk) -> None:
    await desk.observe(FIRES, "a")
    assert await desk.tell() == []
    await desk.restart()
    await desk.observe(FIRES, "b")
    assert await desk.tell(MINUTE) == [("ops", 0, "ba bb")]
    await desk.restart()
    assert await desk.tell(10 * MINUTE) == []
    await desk.observe(OVER, "a")
    await desk.restart()
    assert await desk.tell(5 * MINUTE) == [("ops", 0, "bb -ba")]
    assert await desk.rows() == {"alert_group": 1, "alert_group_member": 1, "notification": 2}
    await desk.observe(OVER, "b")
    assert await desk.tell(5 * MINUTE) == [("ops", 0, "-bb")]
    assert await desk.rows() == {"alert_group": 0, "alert_group_member": 0, "notification": 3}
    (first, *_) = await desk.notifications("ba")
    assert (first.state, first.resolved) == (NotificationState.PENDING, ("ba",))
    assert first.group_labels == {"alertname": "slow"}
    # It begins again: that is told again.
    await desk.observe(FIRES, "a")
    assert await desk.tell(MINUTE) == [("ops", 0, "ba")]
    assert len({each.dedup_key for each in await desk.notifications()}) == 4


async def test_what_ends_before_anybody_is_told_was_nothing(desk: Desk) -> None:
    await desk.observe(FIRES, "a")
    assert await desk.tell() == []
    await desk.observe(OVER, "a")
    assert await desk.tell(MINUTE) == []
    assert await desk.rows() == {"alert_group": 0, "alert_group_member": 0, "notification": 0}


async def test_who_lost_the_lease_tells_nobody(desk: Desk) -> None:
    await desk.observe(FIRES, "a")
    await desk.tell()
    lost, mine = desk.lease, desk.telling
    assert lost is not None
    await desk.restart()
    with pytest.raises(LeaseLost):
        await mine.flush(lost, SHARD, NOW + MINUTE)
    await desk.observe(FIRES, "b")
    with pytest.raises(LeaseLost):
        await mine.route(lost, "acme", NOW)
    assert (await desk.rows())["notification"] == 0


async def test_levels_go_on_over_restarts_until_somebody_answers(desk: Desk) -> None:
    await desk.say(ESCALATION_POLICIES, POLICY, "night")
    root = replace(TREE.routes[0], channels=(), escalation_policy="night")
    await desk.say(ROUTING_TREES, RoutingTree(routes=(root,)))
    await desk.observe(FIRES, "a")
    await desk.tell()
    assert await desk.tell(MINUTE) == [("ops", 1, "ba")]
    # Another chain is for what comes later.
    edited = replace(POLICY, levels=(Level(channels=("other",), timeout=MINUTE),))
    await desk.say(ESCALATION_POLICIES, edited, "night")
    await desk.restart()
    assert await desk.tell(10 * MINUTE) == [("boss", 2, "ba")]
    acknowledged = desk.known["a"].acknowledged("users/me", desk.clock.now())
    await desk.write([acknowledged])
    await desk.restart()
    assert await desk.tell(10 * MINUTE) == []
    assert await desk.tell(50 * MINUTE) == [("other", 1, "ba")]
    async with desk.database.reading() as connection:
        again = await desk.alerts.get(connection, "acme", "ba")
    assert again is not None
    assert (again.state, again.acknowledger) == (AlertState.FIRING, "")
    desk.known["a"] = again
    await desk.observe(OVER, "a")
    assert await desk.tell(5 * MINUTE) == [
        ("boss", 2, "-ba"),
        ("ops", 1, "-ba"),
        ("other", 1, "-ba"),
    ]


async def test_nobody_is_told_while_it_is_silenced_and_that_is_said(desk: Desk) -> None:
    silence = Silence(
        matchers=(Matcher(label="agent", value="a"),),
        start_time=NOW,
        end_time=NOW + 10 * MINUTE,
    )
    await desk.say(SILENCES, silence, "s1")
    await desk.observe(FIRES, "a")
    await desk.tell()
    assert await desk.tell(MINUTE) == [("silenced by silences/s1", 0, "ba")]
    assert await desk.tell(5 * MINUTE) == []
    assert await desk.tell(5 * MINUTE) == [("ops", 0, "ba")]
    (_, noted) = await desk.notifications()
    assert (noted.state, noted.channel) == (NotificationState.SUPPRESSED, "")


async def test_what_fires_goes_by_new_routes(desk: Desk) -> None:
    await desk.observe(FIRES, "a", "b")
    await desk.tell()
    assert await desk.tell(MINUTE) == [("ops", 0, "ba bb")]
    special = Route(
        id="special",
        parent="root",
        matchers=(Matcher(label="agent", value="b"),),
        channels=("boss",),
        group_by=("...",),
    )
    await desk.say(ROUTING_TREES, RoutingTree(routes=(*TREE.routes, special)))
    assert await desk.tell() == [("boss", 0, "bb")]
    assert await desk.tell(5 * MINUTE) == []
    # A route that is gone tells nobody of anything, not even of an end.
    await desk.say(ROUTING_TREES, TREE)
    assert await desk.tell(5 * MINUTE) == [("ops", 0, "ba bb")]
    await desk.say(ROUTING_TREES, RoutingTree())
    await desk.observe(OVER, "a", "b")
    assert await desk.tell(5 * MINUTE) == []
    assert (await desk.rows())["alert_group"] == 0


async def test_a_storm_ends_in_a_notice_for_each_group(desk: Desk) -> None:
    """Ten thousand alerts of ten rules."""
    for number in range(10):
        names = [f"{number}x{each}" for each in range(1000)]
        await desk.observe(FIRES, *names, rule=f"rule{number}")
        await desk.tell(timedelta(milliseconds=500))
    assert len(await desk.tell(MINUTE)) == 10
    assert await desk.tell(5 * MINUTE) == []
    notifications = await desk.notifications()
    assert {len(each.firing) for each in notifications} == {500}
    assert await desk.rows() == {
        "alert_group": 10,
        "alert_group_member": 10_000,
        "notification": 10,
    }
