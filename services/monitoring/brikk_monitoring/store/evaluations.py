"""Evaluations of rules: those that are due, and what they make of the alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text

from brikk_monitoring.domain.alert import Changed
from brikk_monitoring.domain.evaluation import Readings, evaluate
from brikk_monitoring.domain.rule import Rule
from brikk_monitoring.store.alerts import Alerts
from brikk_monitoring.store.rules import due_rules, next_due
from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.ids import new_id
from brikk_shared.leases import Lease, Leases

_BATCH: Final = 1000
_RULE: Final = {"uid": "text", "revision": "bigint", "due_at": "timestamp"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """A rule that is to be evaluated."""

    rule: Rule
    since: datetime


class Evaluations:
    """Finds what is due in a shard, and settles it in one transaction that the lease fences."""

    def __init__(self, database: Database, leases: Leases, alerts: Alerts) -> None:
        self._database = database
        self._leases = leases
        self._alerts = alerts
        self._move = text(
            "UPDATE alert_rule SET due_at = b.due_at"
            f" FROM {batch_source(database.dialect, _RULE)}"
            " WHERE alert_rule.uid = b.uid AND alert_rule.revision = b.revision"
            " RETURNING alert_rule.uid"
        )

    async def due(self, shard: int, now: datetime) -> tuple[Sequence[Due], datetime | None]:
        """Return rules that are due, or none and when one will be.

        Raises:
            Unavailable: the store does not answer.
        """
        async with self._database.reading() as connection:
            found = await due_rules(connection, shard, now, limit=_BATCH)
            later = None if found else await next_due(connection, shard)
        return [Due(rule=rule, since=since) for rule, since in found], later

    async def settle(
        self, lease: Lease, readings: Mapping[str, tuple[Rule, Readings]], now: datetime
    ) -> Sequence[Changed]:
        """Fold what was read of rules, by uid, into their alerts; return what changed.

        A rule that was changed or deleted since it was read is left alone.

        Raises:
            LeaseLost: another evaluates the shard by now; nothing happened.
            Unavailable: the store does not answer.
        """
        rows = [
            {"uid": uid, "revision": rule.revision, "due_at": rule.due_after(now)}
            for uid, (rule, _) in sorted(readings.items())
        ]
        params = batch_params(self._database.dialect, _RULE, rows)
        changed: list[Changed] = []
        async with self._database.transaction(audit=()) as connection:
            await self._leases.assert_held(connection, lease)
            uids = (await connection.execute(self._move, params)).scalars().all()
            alerts = await self._alerts.lock_of_rules(connection, uids)
            for uid in uids:
                rule, read = readings[uid]
                changed += evaluate(rule, read, alerts[uid], now, new_id)
            await self._alerts.write(connection, changed)
        self._alerts.wake()
        return changed
