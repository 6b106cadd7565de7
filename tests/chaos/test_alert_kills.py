"""Replicas of monitoring killed while alerts fire and are resolved: each incident is told once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from brikk.monitoring.v1 import alert_rule_pb2, escalation_pb2, notification_pb2
from brikk.monitoring.v1 import alerting_service_pb2 as pb
from brikk.monitoring.v1.alerting_service_pb2_grpc import AlertingServiceStub
from brikk.monitoring.v1.metrics_pb2 import MetricPoint, RecordMetricsRequest
from brikk.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceStub
from brikk_monitoring.settings import MonitoringSettings
from brikk_shared.testing import Tokens, bearer
from support.chaos import Receiver, let_leases_end
from support.discovery import until
from support.processes import ServiceProcess, service_process

RULES = 12
DEADLINE = 30
FIRING, RESOLVED = "brikk.alert.firing.v1", "brikk.alert.resolved.v1"


class Replicas:
    """Processes that share a database; the one started last is asked."""

    def __init__(self, settings: MonitoringSettings, tokens: Tokens, stack: AsyncExitStack) -> None:
        self._given = json.loads(settings.model_dump_json(exclude_unset=True))
        self._url = settings.database_url
        self._caller = bearer(tokens.user("acme", "alert.*", "metrics.*"))
        self._stack = stack
        self.alive: list[ServiceProcess] = []

    async def start(self) -> None:
        process = service_process("monitoring", self._given)
        self.alive.append(await self._stack.enter_async_context(process))

    async def kill(self) -> None:
        """Kill the one that has lived longest, and start another."""
        await self.alive.pop(0).kill()
        await let_leases_end(self._url)
        await self.start()

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        async with grpc.aio.insecure_channel(self.alive[-1].address) as channel:
            yield channel

    async def observe(self, value: float) -> None:
        point = MetricPoint(metric="load", value=value)
        request = RecordMetricsRequest(request_id="load", points=[point])
        async with self.channel() as channel:
            stub = MonitoringServiceStub(channel)
            await stub.RecordMetrics(request, metadata=self._caller, timeout=DEADLINE)

    async def create_rules(self, bound: float) -> None:
        async with self.channel() as channel:
            for number in range(RULES):
                request = pb.CreateAlertRuleRequest(
                    alert_rule_id=f"r{number}", alert_rule=rule(bound)
                )
                stub = AlertingServiceStub(channel)
                await stub.CreateAlertRule(request, metadata=self._caller, timeout=DEADLINE)

    async def change_rules(self, bound: float) -> None:
        async with self.channel() as channel:
            for number in range(RULES):
                request = pb.UpdateAlertRuleRequest(
                    name=f"alertRules/r{number}", alert_rule=rule(bound)
                )
                stub = AlertingServiceStub(channel)
                await stub.UpdateAlertRule(request, metadata=self._caller, timeout=DEADLINE)

    async def set_routes(self) -> None:
        """Tell of each rule by itself, as fast as may be."""
        root = escalation_pb2.Route(
            id="root",
            channels=["notificationChannels/ops"],
            group_by=["alertname"],
            group_wait=Duration(),
            group_interval=Duration(seconds=1),
        )
        tree = escalation_pb2.RoutingTree(routes=[root])
        request = escalation_pb2.UpdateRoutingTreeRequest(routing_tree=tree)
        async with self.channel() as channel:
            stub = AlertingServiceStub(channel)
            await stub.UpdateRoutingTree(request, metadata=self._caller, timeout=DEADLINE)

    async def notices(self) -> list[tuple[str, bool]]:
        """Return of which rule channels were told, oldest first, and whether it was of its end."""
        request = notification_pb2.ListNotificationsRequest(page_size=100)
        async with self.channel() as channel:
            stub = AlertingServiceStub(channel)
            page = await stub.ListNotifications(request, metadata=self._caller, timeout=DEADLINE)
        return [
            (each.group_labels["alertname"], bool(each.resolved_alerts))
            for each in reversed(page.notifications)
        ]


def rule(bound: float) -> alert_rule_pb2.AlertRule:
    asked = alert_rule_pb2.AlertRule(
        question=alert_rule_pb2.AlertQuestion(metric="load", window=Duration(seconds=3600)),
        interval=Duration(seconds=1),
    )
    asked.threshold.operator = alert_rule_pb2.AlertRule.Threshold.OPERATOR_ABOVE
    asked.threshold.value = bound
    return asked


@pytest.mark.parametrize(
    "replicas", [1, *(pytest.param(each, marks=pytest.mark.long) for each in (2, 3))]
)
async def test_each_incident_is_told_of_once(
    replicas: int, tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    tokens, webhooks = Tokens(tmp_path), Receiver()
    await webhooks.come()
    settings = MonitoringSettings(
        issuers=tokens.issuers,
        service_key=tokens.service_key,
        database_url=postgres_url,
        redis_url=redis_url,
        webhooks_address=webhooks.address,
        evaluation_delay=timedelta(0),
    )
    inbox = webhooks.inbox

    async def told(event_type: str, count: int) -> None:
        async def enough() -> bool:
            return sum(each.type == event_type for each in inbox.effects) >= count

        await until(enough)

    async with AsyncExitStack() as stack:
        suite = Replicas(settings, tokens, stack)
        for _ in range(replicas):
            await suite.start()

        async def notified(count: int) -> None:
            async def enough() -> bool:
                return len(await suite.notices()) >= count

            await until(enough)

        await suite.set_routes()
        await suite.observe(10)
        await suite.create_rules(bound=0)
        await told(FIRING, 1)
        await suite.kill()
        await told(FIRING, RULES)
        await notified(RULES)
        await suite.change_rules(bound=5)
        await told(RESOLVED, 1)
        await suite.kill()
        await told(RESOLVED, RULES)
        await notified(2 * RULES)
        notices = await suite.notices()
    await webhooks.go()
    stories: dict[str, list[tuple[int, str]]] = {}
    for each in inbox.effects:
        stories.setdefault(each.subject, []).append((each.sequence, each.type))
    assert list(stories.values()) == [[(1, FIRING), (2, RESOLVED)]] * RULES
    for number in range(RULES):
        assert [end for name, end in notices if name == f"r{number}"] == [False, True]
