"""AlertingService: alerts, how they changed, and what people say of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import grpc

from brikk.monitoring.v1 import alert_pb2
from brikk.monitoring.v1 import alerting_service_pb2 as pb
from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.alert_messages import (
    ALERTS,
    RULES,
    alert_message,
    read_states,
    transition_message,
)
from brikk_monitoring.api.parts import Methods
from brikk_monitoring.domain.alert import Alert, Changed
from brikk_shared.call import current_call
from brikk_shared.errors import not_found
from brikk_shared.pagination import cut, page_of

_SNOOZE: Final = timedelta(hours=1)


class AlertMethods(Methods):
    """Shows alerts, and notes what people say of them."""

    async def GetAlert(
        self, request: pb.GetAlertRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> alert_pb2.Alert:
        """Return an alert."""
        async with self._parts.database.reading() as connection:
            alert = await self._parts.alerts.get(
                connection, readable_organization(), request.name.removeprefix(ALERTS)
            )
        if alert is None:
            raise not_found(request.name)
        return alert_message(alert, self._parts.clock.now())

    async def ListAlerts(
        self, request: pb.ListAlertsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListAlertsResponse:
        """List alerts, the last made first."""
        page = page_of(request)
        async with self._parts.database.reading() as connection:
            found = await self._parts.alerts.find(
                connection,
                readable_organization(),
                states=read_states(list(request.states)),
                rule_id=request.rule.removeprefix(RULES),
                before=page.cursor,
                limit=page.size + 1,
            )
        shown, token = cut(request, page, found, lambda alert: alert.id)
        now = self._parts.clock.now()
        return pb.ListAlertsResponse(
            alerts=[alert_message(alert, now) for alert in shown], next_page_token=token
        )

    async def ListAlertTransitions(
        self,
        request: pb.ListAlertTransitionsRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> pb.ListAlertTransitionsResponse:
        """List the changes of an alert's state, newest first."""
        page = page_of(request)
        organization, alert_id = readable_organization(), request.parent.removeprefix(ALERTS)
        async with self._parts.database.reading() as connection:
            if await self._parts.alerts.get(connection, organization, alert_id) is None:
                raise not_found(request.parent)
            found = await self._parts.alerts.transitions(
                connection, organization, alert_id, before=page.cursor, limit=page.size + 1
            )
        shown, token = cut(request, page, found, lambda each: str(each[0]))
        return pb.ListAlertTransitionsResponse(
            transitions=[transition_message(each) for _, each in shown], next_page_token=token
        )

    async def AcknowledgeAlert(
        self, request: pb.AcknowledgeAlertRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> alert_pb2.Alert:
        """Note that the caller looks after an alert."""
        now, actor = self._parts.clock.now(), current_call().identity.subject
        return await self._change_alert(request.name, lambda alert: alert.acknowledged(actor, now))

    async def SnoozeAlert(
        self, request: pb.SnoozeAlertRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> alert_pb2.Alert:
        """Let nobody be told of an alert for a while."""
        now, actor = self._parts.clock.now(), current_call().identity.subject
        length = request.duration.ToTimedelta() if request.HasField("duration") else _SNOOZE
        return await self._change_alert(
            request.name, lambda alert: alert.snoozed(actor, now + length, now)
        )

    async def ResolveAlert(
        self, request: pb.ResolveAlertRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> alert_pb2.Alert:
        """Resolve an alert."""
        now, actor = self._parts.clock.now(), current_call().identity.subject
        return await self._change_alert(
            request.name, lambda alert: alert.resolved(now, actor=actor)
        )

    async def _change_alert(self, name: str, change: Callable[[Alert], Changed]) -> alert_pb2.Alert:
        """Change an alert while nobody else does."""
        alerts = self._parts.alerts
        async with self._parts.database.transaction() as connection:
            alert = await alerts.get(
                connection, readable_organization(), name.removeprefix(ALERTS), lock=True
            )
            if alert is None:
                raise not_found(name)
            changed = change(alert)
            if changed.transition is not None:
                await alerts.write(connection, [changed])
        alerts.wake()
        return alert_message(changed.alert, self._parts.clock.now())
