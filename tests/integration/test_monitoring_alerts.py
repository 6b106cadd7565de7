"""Rules and their alerts against a running service, on both stores, with restarts in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from brikk.monitoring.v1 import alert_pb2, alert_rule_pb2, query_pb2
from brikk.monitoring.v1 import alerting_service_pb2 as pb
from brikk.monitoring.v1.metrics_pb2 import MetricPoint
from brikk_shared.errors import Reason
from brikk_shared.event import check_event
from brikk_shared.status import from_rpc_error
from brikk_shared.structs import from_struct
from brikk_shared.testing import ManualClock, Tokens
from support.chaos import Receiver
from support.discovery import until
from support.monitoring import DEADLINE, Monitoring, execution, monitoring, numbered

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
INTERVAL = timedelta(seconds=10)
State = alert_pb2.Alert.State
PENDING, FIRING, RESOLVED = (
    alert_pb2.Alert.STATE_PENDING,
    alert_pb2.Alert.STATE_FIRING,
    alert_pb2.Alert.STATE_RESOLVED,
)


T = TypeVar("T")
Stream = grpc.aio.UnaryStreamCall[pb.WatchAlertsRequest, pb.WatchAlertsResponse]


class World:
    """A service, an organisation, and time."""

    def __init__(self, folder: Path, redis_url: str, database_url: str) -> None:
        self.clock = ManualClock(NOW)
        self.tokens = Tokens(folder, clock=self.clock)
        self._redis_url, self._database_url = redis_url, database_url
        self.webhooks = Receiver()
        self.service: Monitoring

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        async with monitoring(
            self._redis_url,
            self.tokens,
            clock=self.clock,
            database_url=self._database_url,
            webhooks_address=self.webhooks.address,
        ) as self.service:
            yield self

    async def ask(self, call: Callable[..., Awaitable[T]], request: object) -> T:
        return await call(request, metadata=self.service.alerter(), timeout=DEADLINE)

    async def create(
        self, rule: alert_rule_pb2.AlertRule, rule_id: str = "failing", request_id: str = ""
    ) -> alert_rule_pb2.AlertRule:
        request = pb.CreateAlertRuleRequest(
            alert_rule_id=rule_id, alert_rule=rule, request_id=request_id
        )
        return await self.ask(self.service.alerting.CreateAlertRule, request)

    async def read(self, stream: Stream) -> pb.WatchAlertsResponse:
        """Let time pass until a stream tells of alerts."""
        while True:
            reading = asyncio.ensure_future(stream.read())

            async def told(reading: asyncio.Future[object] = reading) -> bool:
                self.clock.advance(timedelta(seconds=1))
                return reading.done()

            await until(told)
            message = await reading
            assert isinstance(message, pb.WatchAlertsResponse)
            if message.alerts:
                return message

    async def fail(self, times: int, *, first: int) -> None:
        events = [execution("failed", self.clock.now()) for _ in range(times)]
        await self.service.publish(*numbered(events, first=first))

    async def alert(self) -> alert_pb2.Alert | None:
        found = await self.ask(self.service.alerting.ListAlerts, pb.ListAlertsRequest())
        return found.alerts[0] if found.alerts else None

    async def pass_until(self, state: State.ValueType) -> alert_pb2.Alert:
        """Let intervals pass until the one alert stands so."""
        found: list[alert_pb2.Alert] = []

        async def stands() -> bool:
            # No more than the service keeps up with: its leases last 15 seconds of this clock.
            self.clock.advance(timedelta(seconds=1))
            alert = await self.alert()
            found[:] = [alert] if alert is not None else []
            return bool(found) and found[0].state == state

        await until(stands)
        return found[0]


@pytest.fixture
async def world(tmp_path: Path, redis_url: str, database_url: str) -> AsyncIterator[World]:
    world = World(tmp_path, redis_url, database_url)
    await world.webhooks.come()
    yield world
    await world.webhooks.go()


def failing(*, pending_for: int = 0, bound: float = 2) -> alert_rule_pb2.AlertRule:
    rule = alert_rule_pb2.AlertRule(
        question=alert_rule_pb2.AlertQuestion(
            metric="executions",
            error_reason="*",
            window=Duration(seconds=120),
            group_by=[query_pb2.DIMENSION_WORKFLOW],
        ),
        interval=Duration(seconds=10),
        pending_for=Duration(seconds=pending_for),
        severity=alert_rule_pb2.SEVERITY_CRITICAL,
        annotations={"summary": "{{ labels.workflow }}: {{ value }}"},
    )
    rule.threshold.operator = alert_rule_pb2.AlertRule.Threshold.OPERATOR_ABOVE
    rule.threshold.value = bound
    return rule


async def test_an_alert_lives_through_restarts_and_is_told_of(world: World) -> None:
    async with world.running():
        await world.create(failing(pending_for=60))
        await world.fail(3, first=1)
        pending = await world.pass_until(PENDING)
    async with world.running():
        firing = await world.pass_until(FIRING)
        assert firing.name == pending.name
        assert firing.pending_time == pending.pending_time
        waited = firing.fire_time.ToDatetime() - firing.pending_time.ToDatetime()
        assert timedelta(minutes=1) <= waited <= timedelta(minutes=1) + 3 * INTERVAL
        assert firing.labels == {
            "workflow": "triage",
            "alertname": "failing",
            "severity": "critical",
        }
        assert firing.annotations["summary"] == "triage: 3"
        mine = await world.ask(
            world.service.alerting.AcknowledgeAlert, pb.AcknowledgeAlertRequest(name=firing.name)
        )
        assert (mine.state, mine.acknowledger) == (
            alert_pb2.Alert.STATE_ACKNOWLEDGED,
            "users/tester",
        )
        snoozed = await world.ask(
            world.service.alerting.SnoozeAlert,
            pb.SnoozeAlertRequest(name=firing.name, duration=Duration(seconds=20)),
        )
        assert snoozed.state == alert_pb2.Alert.STATE_SNOOZED
    async with world.running():
        await world.pass_until(FIRING)
        # Others go well meanwhile, so the measurements are not silent.
        await world.service.publish(
            *numbered(
                [
                    execution("succeeded", world.clock.now() + timedelta(minutes=each))
                    for each in range(5)
                ],
                first=10,
            )
        )
        resolved = await world.pass_until(RESOLVED)
        assert resolved.HasField("resolve_time")
        transitions = await world.ask(
            world.service.alerting.ListAlertTransitions,
            pb.ListAlertTransitionsRequest(parent=firing.name, page_size=4),
        )
        rest = await world.ask(
            world.service.alerting.ListAlertTransitions,
            pb.ListAlertTransitionsRequest(
                parent=firing.name, page_size=4, page_token=transitions.next_page_token
            ),
        )
        states = [each.state for each in (*transitions.transitions, *rest.transitions)]
        assert [State.Name(each).removeprefix("STATE_") for each in reversed(states)] == [
            *("PENDING", "FIRING", "ACKNOWLEDGED", "SNOOZED", "FIRING", "RESOLVED")
        ]
        inbox = world.webhooks.inbox
        await inbox.until(6)
        told = [each.type.split(".")[2] for each in inbox.effects]
        assert told == ["pending", "firing", "acknowledged", "snoozed", "firing", "resolved"]
        assert [each.sequence for each in inbox.effects] == list(range(1, 7))
        for each in inbox.effects:
            assert check_event(each) is None
            assert (each.source, each.subject) == ("brikk.monitoring", firing.name)
        data = from_struct(inbox.effects[1].data)
        assert (data["rule"], data["value"]) == ("alertRules/failing", 3)
        assert world.service.metric("brikk_monitoring_rule_evaluations_total", result="read")


async def test_rules_are_kept_changed_and_deleted(world: World) -> None:
    async with world.running():
        alerting = world.service.alerting
        rule = await world.create(failing(bound=0), request_id="one")
        assert await world.create(failing(bound=0), request_id="one") == rule
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await world.create(failing(bound=1), request_id="one")
        assert from_rpc_error(refused.value).reason is Reason.REQUEST_ID_REUSED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await world.create(failing())
        assert from_rpc_error(refused.value).reason is Reason.RESOURCE_EXISTS
        await world.fail(1, first=1)
        firing = await world.pass_until(FIRING)

        change = alert_rule_pb2.AlertRule(description="mine")
        change.burn_rate.objective = 0.9
        request = pb.UpdateAlertRuleRequest(name=rule.name, alert_rule=change, etag=rule.etag)
        changed = await world.ask(alerting.UpdateAlertRule, request)
        assert (changed.WhichOneof("condition"), changed.description) == ("burn_rate", "mine")
        assert changed.interval == rule.interval
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await world.ask(alerting.UpdateAlertRule, request)
        assert from_rpc_error(refused.value).reason is Reason.ETAG_MISMATCH
        off = pb.UpdateAlertRuleRequest(
            name=rule.name,
            alert_rule=alert_rule_pb2.AlertRule(disabled=True),
            update_mask=FieldMask(paths=["disabled"]),
        )
        assert (await world.ask(alerting.UpdateAlertRule, off)).disabled
        ended = await world.ask(alerting.GetAlert, pb.GetAlertRequest(name=firing.name))
        assert ended.state == RESOLVED

        defaults = pb.CreateDefaultAlertRulesRequest()
        created = await world.ask(alerting.CreateDefaultAlertRules, defaults)
        assert await world.ask(alerting.CreateDefaultAlertRules, defaults) == created
        names = [each.name for each in created.alert_rules]
        await world.ask(alerting.DeleteAlertRule, pb.DeleteAlertRuleRequest(name=rule.name))
        listed = await world.ask(alerting.ListAlertRules, pb.ListAlertRulesRequest())
        assert [each.name for each in listed.alert_rules] == names == sorted(names)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await world.ask(alerting.GetAlertRule, pb.GetAlertRuleRequest(name=rule.name))
        assert from_rpc_error(refused.value).reason is Reason.RESOURCE_NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await world.create(alert_rule_pb2.AlertRule(question=rule.question))
        assert from_rpc_error(refused.value).reason is Reason.INVALID_FIELD


async def test_a_rule_is_previewed_over_the_past_and_alerts_are_watched(world: World) -> None:
    async with world.running():
        alerting = world.service.alerting
        stream = alerting.WatchAlerts(
            pb.WatchAlertsRequest(), metadata=world.service.alerter(), timeout=DEADLINE
        )
        first = await stream.read()
        assert isinstance(first, pb.WatchAlertsResponse)
        assert list(first.alerts) == []
        points = [
            MetricPoint(metric="queue.depth", value=value, service="s")
            for value in (5.0, 50.0, 5.0)
        ]
        for index, point in enumerate(points):
            point.time.FromDatetime(NOW - timedelta(minutes=30 - 10 * index))
        await world.service.record(*points)
        rule = alert_rule_pb2.AlertRule(
            question=alert_rule_pb2.AlertQuestion(
                metric="queue.depth",
                aggregation=query_pb2.AGGREGATION_MEAN,
                window=Duration(seconds=60),
                group_by=[query_pb2.DIMENSION_SERVICE],
            )
        )
        rule.threshold.operator = alert_rule_pb2.AlertRule.Threshold.OPERATOR_ABOVE
        rule.threshold.value = 20
        preview = await world.ask(alerting.PreviewRule, pb.PreviewRuleRequest(alert_rule=rule))
        assert preview.evaluations == 61
        states = [each.transition.state for each in preview.transitions]
        # Nothing is known in between, so it fires on until the next observation.
        assert states == [FIRING, RESOLVED]
        assert preview.transitions[0].labels["service"] == "s"

        await world.create(failing(bound=0))
        await world.fail(1, first=1)
        firing = await world.pass_until(FIRING)
        message = await world.read(stream)
        assert [each.name for each in message.alerts] == [firing.name]
        stream.cancel()
        await world.ask(alerting.ResolveAlert, pb.ResolveAlertRequest(name=firing.name))
        stream = alerting.WatchAlerts(
            pb.WatchAlertsRequest(resume_token=message.resume_token),
            metadata=world.service.alerter(),
            timeout=DEADLINE,
        )
        assert [each.name for each in (await world.read(stream)).alerts] == [firing.name]
        stream.cancel()
