"""What a channel is told of a group of alerts, or why it is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final

from brikk_monitoring.domain.grouping import Group, Notice

MOST_NAMED: Final = 500
"""Alerts of each kind that a notification names."""


class NotificationState(IntEnum):
    """Where a notification stands; the numbers are those that are stored."""

    PENDING = 1
    SENT = 2
    FAILED = 3
    SUPPRESSED = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """A notice on its way to a channel, or the note that there is none."""

    id: str
    organization: str
    channel: str
    state: NotificationState
    reason: str
    group_uid: str
    group_labels: Mapping[str, str]
    level: int
    firing: tuple[str, ...]
    resolved: tuple[str, ...]
    dedup_key: str
    attempts: int = 0
    create_time: datetime
    next_attempt_at: datetime | None
    ended_at: datetime | None


def decided(
    notification_id: str, group: Group, place: int, notice: Notice, now: datetime
) -> Notification:
    """Return the notification of a notice.

    Args:
        group: as it was before the notice.
        place: of the notice among those of the same moment.
    """
    sent = not notice.reason
    return Notification(
        id=notification_id,
        organization=group.organization,
        channel=notice.channel,
        state=NotificationState.PENDING if sent else NotificationState.SUPPRESSED,
        reason=notice.reason,
        group_uid=group.uid,
        group_labels=group.labels,
        level=notice.level,
        firing=notice.firing[:MOST_NAMED],
        resolved=notice.resolved[:MOST_NAMED],
        dedup_key=f"{group.uid}-{group.sequence}-{place}",
        create_time=now,
        next_attempt_at=now if sent else None,
        ended_at=None if sent else now,
    )
