"""Who evaluates rules: one replica at a time, fenced, and another when it is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from brikk.monitoring.v1 import alert_rule_pb2
from brikk.monitoring.v1 import alerting_service_pb2 as pb
from brikk_monitoring.domain.alert import AlertState
from brikk_monitoring.domain.condition import Part
from brikk_monitoring.domain.evaluation import Readings
from brikk_monitoring.domain.measurement import Sums
from brikk_monitoring.domain.rule import Definition, Inquiry, Rule, Side, Threshold
from brikk_monitoring.runtime.evaluator import AlertMetrics, Evaluator
from brikk_monitoring.settings import MonitoringSettings
from brikk_monitoring.store.alert_retention import AlertRetention
from brikk_monitoring.store.alerts import SOURCE, Alerts
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.connection import connect
from brikk_monitoring.store.evaluations import Evaluations
from brikk_monitoring.store.policies import Policies
from brikk_monitoring.store.rules import change_rule, create_rule
from brikk_shared.clock import SystemClock
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable
from brikk_shared.ids import new_id
from brikk_shared.leases import Lease, LeaseLost, Leases
from brikk_shared.outbox import Outbox
from brikk_shared.testing import ManualClock, Tokens
from support.discovery import until
from support.monitoring import DEADLINE, Monitoring, execution, monitoring, numbered

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
BUSY: Readings = {(): [Part(sums=Sums(counts={"succeeded": 9}), length=timedelta(minutes=1))]}
CALM: Readings = {(): [Part(sums=Sums(counts={"succeeded": 1}), length=timedelta(minutes=1))]}


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What evaluates at one database, as two replicas would."""

    database: Database
    alerts: Alerts
    mine: Leases
    theirs: Leases

    def evaluations(self, leases: Leases) -> Evaluations:
        return Evaluations(self.database, leases, self.alerts)

    async def add(self, rule: Rule) -> None:
        async with self.database.transaction() as connection:
            await create_rule(connection, rule, request_id="", request_digest=b"", quota=10)

    async def states(self) -> list[AlertState]:
        async with self.database.reading() as connection:
            found = await self.alerts.find(
                connection, "acme", states=(), rule_id="", before="", limit=10
            )
        return [each.state for each in found]

    async def rows(self, table: str) -> int:
        async with self.database.reading() as connection:
            count = await connection.execute(text(f"SELECT count(*) FROM {table}"))
            return int(count.scalar_one())


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    migrations = "brikk_monitoring.store.migrations"
    async with Database(database_url, migrations=migrations) as database:
        outbox = Outbox(database, source=SOURCE, destinations=["webhooks"])
        yield Desk(
            database=database,
            alerts=Alerts(database, outbox),
            mine=Leases(database, new_id(), SystemClock()),
            theirs=Leases(database, new_id(), SystemClock()),
        )


def rule(rule_id: str = "busy") -> Rule:
    return Rule(
        uid=new_id(),
        organization="acme",
        id=rule_id,
        definition=Definition(
            inquiry=Inquiry(metric="calls"), condition=Threshold(side=Side.ABOVE, value=5)
        ),
        create_time=NOW,
        update_time=NOW,
    )


async def take(leases: Leases) -> Lease:
    lease = await leases.acquire("shard", timedelta(minutes=1))
    assert lease is not None
    return lease


async def test_who_lost_the_lease_writes_nothing_nor_does_who_read_an_old_rule(desk: Desk) -> None:
    busy = rule()
    await desk.add(busy)
    lost = await take(desk.mine)
    async with desk.database.transaction() as connection:
        await connection.execute(text("UPDATE lease SET expires_at = 0"))
    held = await take(desk.theirs)
    with pytest.raises(LeaseLost):
        await desk.evaluations(desk.mine).settle(lost, {busy.uid: (busy, BUSY)}, NOW)
    assert (await desk.states(), await desk.rows("outbox")) == ([], 0)

    changed = replace(busy, revision=1)
    async with desk.database.transaction() as connection:
        await change_rule(connection, changed)
    theirs = desk.evaluations(desk.theirs)
    assert await theirs.settle(held, {busy.uid: (busy, BUSY)}, NOW) == []
    assert await desk.states() == []
    await theirs.settle(held, {busy.uid: (changed, BUSY)}, NOW)
    assert await desk.states() == [AlertState.FIRING]
    assert await desk.rows("outbox") == await desk.rows("alert_transition") == 1
    due, later = await theirs.due(busy.shard, NOW)
    assert (due, later) == ([], changed.due_after(NOW))


async def test_what_cannot_be_read_changes_nothing_and_is_read_later(
    desk: Desk, redis_url: str
) -> None:
    """The store of the measurements goes, and comes back after three intervals."""
    busy = rule()
    await desk.add(busy)
    lease, metrics = await take(desk.mine), AlertMetrics(registry := CollectorRegistry())
    mine, clock = desk.evaluations(desk.mine), ManualClock(NOW)
    await mine.settle(lease, {busy.uid: (busy, BUSY)}, NOW)

    async def evaluate(url: str) -> None:
        async with connect(url) as redis:
            evaluator = Evaluator(
                mine,
                desk.mine,
                Buckets(redis),
                Policies(redis, MonitoringSettings().retention),
                metrics,
                delay=timedelta(0),
                clock=clock,
            )
            await evaluator.evaluate(busy.shard, lease)

    clock.advance(timedelta(minutes=1))
    with pytest.raises(Unavailable):
        await evaluate("redis://127.0.0.1:1/0")
    clock.advance(timedelta(minutes=3))
    await evaluate(redis_url)
    # Nothing was observed meanwhile, which resolves nothing either.
    assert await desk.states() == [AlertState.FIRING]
    evaluations = "brikk_monitoring_rule_evaluations_total"
    assert registry.get_sample_value(evaluations, {"result": "unread"}) == 1
    assert registry.get_sample_value(evaluations, {"result": "read"}) == 1
    assert registry.get_sample_value("brikk_monitoring_rule_evaluation_misses_total") == 3


async def test_what_is_over_is_removed_when_its_time_has_come(desk: Desk) -> None:
    busy, lasting = rule(), rule("lasting")
    for each in (busy, lasting):
        await desk.add(each)
    lease, mine = await take(desk.mine), desk.evaluations(desk.mine)
    now = SystemClock().now()
    both = {each.uid: (each, BUSY) for each in (busy, lasting)}
    await mine.settle(lease, both, now)
    await mine.settle(lease, {busy.uid: (busy, CALM)}, now + timedelta(minutes=1))
    clock = ManualClock(now + timedelta(days=1))
    retention = AlertRetention(desk.database, kept=timedelta(days=1), clock=clock)
    assert not await retention.remove()
    assert len(await desk.states()) == 2
    clock.advance(timedelta(minutes=2))
    assert not await retention.remove()
    assert await desk.states() == [AlertState.FIRING]
    assert await desk.rows("alert_transition") == 0


async def test_replicas_evaluate_each_rule_once_and_take_over(
    tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    clock = ManualClock(NOW)
    tokens = Tokens(tmp_path, clock=clock)

    def evaluated(*replicas: Monitoring) -> float:
        return sum(
            each.metric("brikk_monitoring_rule_evaluations_total", result="read")
            for each in replicas
        )

    async def alerts(replica: Monitoring) -> list[int]:
        """How often each changed."""
        found = await replica.alerting.ListAlerts(
            pb.ListAlertsRequest(), metadata=replica.alerter(), timeout=DEADLINE
        )
        changes = [
            await replica.alerting.ListAlertTransitions(
                pb.ListAlertTransitionsRequest(parent=each.name),
                metadata=replica.alerter(),
                timeout=DEADLINE,
            )
            for each in found.alerts
        ]
        return [len(each.transitions) for each in changes]

    async with monitoring(redis_url, tokens, clock=clock, database_url=postgres_url) as survivor:
        async with monitoring(redis_url, tokens, clock=clock, database_url=postgres_url) as other:
            await survivor.publish(*numbered([execution("failed", NOW)]))
            for number in range(8):
                asked = alert_rule_pb2.AlertRule(
                    question=alert_rule_pb2.AlertQuestion(metric="executions")
                )
                asked.threshold.operator = alert_rule_pb2.AlertRule.Threshold.OPERATOR_ABOVE
                await other.alerting.CreateAlertRule(
                    pb.CreateAlertRuleRequest(alert_rule_id=f"r{number}", alert_rule=asked),
                    metadata=other.alerter(),
                    timeout=DEADLINE,
                )

            async def all_fire() -> bool:
                clock.advance(timedelta(seconds=2))
                return len(await alerts(survivor)) == 8

            await until(all_fire)
            assert await alerts(other) == [1] * 8
            passed = (clock.now() - NOW) / timedelta(minutes=1)
            assert evaluated(survivor, other) <= 8 * (passed + 1)
        before = evaluated(survivor)

        async def all_again() -> bool:
            clock.advance(timedelta(seconds=5))
            return evaluated(survivor) >= before + 16

        await until(all_again)
        assert await alerts(survivor) == [1] * 8
