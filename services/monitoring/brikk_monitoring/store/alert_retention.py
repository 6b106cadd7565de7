"""The end of what is kept of alerts, a batch at a time, so that nobody waits long for a lock."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select

from brikk_monitoring.domain.alert import AlertState
from brikk_monitoring.store.tables import ALERT, ALERT_TRANSITION, ALERTING_SETTING, NOTIFICATION
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.ids import first_id
from brikk_shared.tasks import Task

ALERT_EXPIRY: Final = Task(name="alert-expiry", every=timedelta(minutes=10))

_BATCH: Final = 500


class AlertRetention:
    """Removes what is over: alerts, transitions, silences and notifications.

    Replicas may do so side by side.

    Args:
        kept: for how long they are kept.
    """

    def __init__(self, database: Database, *, kept: timedelta, clock: Clock) -> None:
        self._database = database
        self._kept = kept
        self._clock = clock

    async def remove(self) -> bool:
        """Remove a batch of each; tell whether there may be more.

        Raises:
            Unavailable: the store does not answer.
        """
        bound = self._clock.now() - self._kept
        # Both are found by their ids, which sort by the time they were made.
        oldest = select(ALERT_TRANSITION.c.id).order_by(ALERT_TRANSITION.c.id).limit(_BATCH)
        transitions = delete(ALERT_TRANSITION).where(
            ALERT_TRANSITION.c.id.in_(oldest.scalar_subquery()), ALERT_TRANSITION.c.time < bound
        )
        over = (
            select(ALERT.c.id)
            .where(
                ALERT.c.id < first_id(bound),
                ALERT.c.state == AlertState.RESOLVED.value,
                ALERT.c.resolved_at < bound,
            )
            .limit(_BATCH)
        )
        # Asked again of the row itself, as it may fire again meanwhile.
        alerts = delete(ALERT).where(
            ALERT.c.id.in_(over.scalar_subquery()), ALERT.c.state == AlertState.RESOLVED.value
        )
        ended = (
            select(ALERTING_SETTING.c.id).where(ALERTING_SETTING.c.end_time < bound).limit(_BATCH)
        )
        silences = delete(ALERTING_SETTING).where(
            ALERTING_SETTING.c.id.in_(ended.scalar_subquery()),
            ALERTING_SETTING.c.end_time < bound,
        )
        told = (
            select(NOTIFICATION.c.id)
            .where(NOTIFICATION.c.id < first_id(bound), NOTIFICATION.c.ended_at < bound)
            .limit(_BATCH)
        )
        notifications = delete(NOTIFICATION).where(NOTIFICATION.c.id.in_(told.scalar_subquery()))
        async with self._database.transaction(audit=()) as connection:
            gone = [
                len((await connection.execute(each)).all())
                for each in (
                    transitions.returning(ALERT_TRANSITION.c.id),
                    alerts.returning(ALERT.c.id),
                    silences.returning(ALERTING_SETTING.c.id),
                    notifications.returning(NOTIFICATION.c.id),
                )
            ]
        return _BATCH in gone
