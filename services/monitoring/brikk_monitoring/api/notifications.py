"""AlertingService: what channels were told, and what they were not."""

from __future__ import annotations

from typing import Any, Final

import grpc

from brikk.monitoring.v1 import notification_pb2 as pb
from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.alert_messages import ALERTS
from brikk_monitoring.api.parts import Methods
from brikk_monitoring.api.telling_messages import CHANNELS
from brikk_monitoring.domain.notification import Notification, NotificationState
from brikk_monitoring.store.notifications import find_notifications
from brikk_shared.errors import invalid_field
from brikk_shared.pagination import cut, page_of
from brikk_shared.times import to_timestamp

_MOST: Final = 100
_STATES: Final = {
    each: pb.Notification.State.Value(f"STATE_{each.name}") for each in NotificationState
}


class NotificationMethods(Methods):
    """Shows notifications."""

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListNotificationsResponse:
        """List notifications, newest first."""
        if pb.Notification.STATE_UNSPECIFIED in request.states:
            raise invalid_field("states", "must not be unspecified")
        page = page_of(request, cap=_MOST)
        async with self._parts.database.reading() as connection:
            found = await find_notifications(
                connection,
                readable_organization(),
                states=[NotificationState(each) for each in request.states],
                channel=request.channel.removeprefix(CHANNELS),
                alert_id=request.alert.removeprefix(ALERTS),
                before=page.cursor,
                limit=page.size + 1,
            )
        shown, token = cut(request, page, found, lambda each: each.id)
        return pb.ListNotificationsResponse(
            notifications=map(_message, shown), next_page_token=token
        )


def _message(notification: Notification) -> pb.Notification:
    return pb.Notification(
        name=f"notifications/{notification.id}",
        channel=CHANNELS + notification.channel if notification.channel else "",
        state=_STATES[notification.state],
        reason=notification.reason,
        group_labels=notification.group_labels,
        level=notification.level,
        firing_alerts=[ALERTS + each for each in notification.firing],
        resolved_alerts=[ALERTS + each for each in notification.resolved],
        attempts=notification.attempts,
        create_time=to_timestamp(notification.create_time),
        next_attempt_time=to_timestamp(notification.next_attempt_at),
        end_time=to_timestamp(notification.ended_at),
    )
