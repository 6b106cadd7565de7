"""The demonstration's alert: nothing runs at first, somebody is told, and then it is resolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf.duration_pb2 import Duration

from brikk.monitoring.v1.alert_pb2 import Alert
from brikk.monitoring.v1.alert_rule_pb2 import AlertQuestion, AlertRule
from brikk.monitoring.v1.alerting_service_pb2 import (
    CreateAlertRuleRequest,
    ListAlertsRequest,
    ListAlertTransitionsRequest,
)
from brikk.webhooks.v1.webhook_pb2 import Webhook
from brikk.webhooks.v1.webhook_service_pb2 import CreateWebhookRequest
from brikk_cli.client import Services
from brikk_cli.receiver import Arrival, Receiver

_FIRING: Final = "brikk.alert.firing.v1"
_RESOLVED: Final = "brikk.alert.resolved.v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarms:
    """How often alerts fired and were resolved, and how many notices of that arrived."""

    fired: int
    notified: int
    """Notices that alerts fire, with a verified signature."""
    resolved: int

    @property
    def over(self) -> bool:
        """Whether what fired was told of, and is resolved."""
        return self.fired == self.notified == self.resolved > 0


class Alarm:
    """A rule that alerts while nothing runs, and a webhook that tells the receiver.

    Args:
        run: names what it makes.
    """

    def __init__(self, services: Services, run: str) -> None:
        self._services = services
        self._run = run
        self._notices: dict[str, object] = {}

    def arrived(self, arrival: Arrival) -> None:
        """Note what the receiver verified; a notice that comes twice counts once."""
        self._notices[arrival.webhook_id] = arrival.event["type"]

    async def define(self, receiver: Receiver) -> None:
        """Create both."""
        webhook = Webhook(
            url=receiver.url,
            event_types=[_FIRING, _RESOLVED],
            secret=receiver.secret,
            retry_schedule=[Duration(seconds=1)] * 5,
        )
        name = f"{self._run}-alerts"
        subscribe = CreateWebhookRequest(webhook_id=name, webhook=webhook, request_id=name)
        await self._services.call(self._services.webhooks.CreateWebhook, subscribe)
        rule = AlertRule(
            question=AlertQuestion(metric="executions", window=Duration(seconds=60)),
            interval=Duration(seconds=1),
            annotations={"summary": "Nothing runs"},
        )
        rule.absence.SetInParent()
        create = CreateAlertRuleRequest(
            alert_rule_id="nothing-runs", alert_rule=rule, request_id=name
        )
        await self._services.call(self._services.alerting.CreateAlertRule, create)

    async def count(self) -> Alarms:
        """What became of it so far."""
        alerting = self._services.alerting
        found = await self._services.call(alerting.ListAlerts, ListAlertsRequest())
        changes = [
            transition.state
            for alert in found.alerts
            for transition in (
                await self._services.call(
                    alerting.ListAlertTransitions, ListAlertTransitionsRequest(parent=alert.name)
                )
            ).transitions
        ]
        return Alarms(
            fired=changes.count(Alert.STATE_FIRING),
            notified=list(self._notices.values()).count(_FIRING),
            resolved=changes.count(Alert.STATE_RESOLVED),
        )
