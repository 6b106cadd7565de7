"""AlertingService: alerts as they change."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any, Final

import grpc

from brikk.monitoring.v1 import alerting_service_pb2 as pb
from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.alert_messages import alert_message
from brikk_monitoring.api.parts import Methods
from brikk_monitoring.domain.alert import Alert, AlertState

_PAUSE: Final = timedelta(seconds=1)
_HEARTBEAT: Final = 15
"""Pauses without news after which a heartbeat is sent."""
_BATCH: Final = 500
_LATE: Final = 1000
"""Transitions that are looked at again: replicas may commit them in another order than that of
their numbers."""
_UNRESOLVED: Final = tuple(state for state in AlertState if state is not AlertState.RESOLVED)


class AlertWatchMethods(Methods):
    """Keeps callers informed of alerts."""

    async def WatchAlerts(
        self, request: pb.WatchAlertsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncGenerator[pb.WatchAlertsResponse, None]:
        """Send the alerts that are not resolved, or what was missed, then what changes."""
        organization, quiet = readable_organization(), 0
        if request.resume_token:
            last = int(request.resume_token)
            told: set[int] = set(range(last - _LATE, last + 1))
        else:
            last, told, alerts = await self._begin(organization)
            yield self._message(alerts, last)
        while True:
            news, alerts = await self._news(organization, last, told)
            last = max(last, *news, last)
            told = {number for number in told | set(news) if number > last - _LATE}
            if alerts or quiet == _HEARTBEAT:
                quiet = 0
                yield self._message(alerts, last)
            if len(news) < _BATCH:
                quiet += 1
                await self._parts.clock.sleep(_PAUSE)

    async def _begin(self, organization: str) -> tuple[int, set[int], list[Alert]]:
        alerts = self._parts.alerts
        async with self._parts.database.reading() as connection:
            last = await alerts.newest(connection, organization)
            news = await alerts.news(connection, organization, after=last - _LATE, limit=_LATE)
            found = await alerts.find(
                connection,
                organization,
                states=_UNRESOLVED,
                rule_id="",
                before="",
                limit=_BATCH,
            )
        return last, {number for number, _ in news}, found

    async def _news(
        self, organization: str, last: int, told: set[int]
    ) -> tuple[list[int], list[Alert]]:
        alerts = self._parts.alerts
        async with self._parts.database.reading() as connection:
            found = await alerts.news(
                connection, organization, after=last - _LATE, limit=_LATE + _BATCH
            )
            news = {number: alert_id for number, alert_id in found if number not in told}
            if not news:
                return [], []
            changed = await alerts.get_all(connection, organization, set(news.values()))
        return list(news), list(changed.values())

    def _message(self, alerts: list[Alert], last: int) -> pb.WatchAlertsResponse:
        now = self._parts.clock.now()
        return pb.WatchAlertsResponse(
            alerts=[alert_message(alert, now) for alert in alerts], resume_token=str(last)
        )
