"""Alerts and their transitions, each of which goes out as an event in the same transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.event.v1.event_pb2 import Event
from brikk_monitoring.domain.alert import Alert, AlertState, Changed, Transition
from brikk_monitoring.domain.rule import Severity
from brikk_monitoring.store.tables import ALERT, ALERT_TRANSITION
from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.event import make_event
from brikk_shared.outbox import Outbox
from brikk_shared.types import from_microseconds, to_json, to_microseconds

SOURCE: Final = "brikk.monitoring"

_UID: Final = {"uid": "text"}
_ALERT: Final = {
    "id": "text",
    "organization": "text",
    "rule_uid": "text",
    "rule_id": "text",
    "fingerprint": "text",
    "severity": "bigint",
    "labels": "text",
    "annotations": "text",
    "state": "bigint",
    "value": "double",
    "pending_since": "timestamp",
    "firing_since": "timestamp",
    "released_at": "timestamp",
    "resolved_at": "timestamp",
    "acknowledged_at": "timestamp",
    "acknowledger": "text",
    "snoozed_until": "timestamp",
    "turns": "text",
    "episode": "bigint",
    "sequence": "bigint",
}
_TRANSITION: Final = {
    "organization": "text",
    "alert_id": "text",
    "episode": "bigint",
    "time": "timestamp",
    "state": "bigint",
    "value": "double",
    "actor": "text",
    "reason": "text",
    "place": "bigint",
}


class Alerts:
    """Reads alerts, and writes what became of them.

    Args:
        outbox: takes an event for each transition.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._dialect = dialect = database.dialect
        self._outbox = outbox
        lock = " FOR UPDATE OF a" if dialect == "postgresql" else ""
        self._of_rules = text(
            f"SELECT {', '.join(f'a.{name}' for name in _ALERT)}"
            f" FROM {batch_source(dialect, _UID)} JOIN alert a ON a.rule_uid = b.uid"
            f" ORDER BY a.id{lock}"
        ).columns(*(ALERT.c[name] for name in _ALERT))
        names = ", ".join(_ALERT)
        changing = ", ".join(f"{name} = excluded.{name}" for name in _ALERT if name != "id")
        self._write = text(
            f"INSERT INTO alert ({names}) SELECT {', '.join(f'b.{name}' for name in _ALERT)}"
            f" FROM {batch_source(dialect, _ALERT)} WHERE true"
            f" ON CONFLICT (id) DO UPDATE SET {changing}"
        )
        told = [name for name in _TRANSITION if name != "place"]
        self._tell = text(
            f"INSERT INTO alert_transition ({', '.join(told)})"
            f" SELECT {', '.join(f'b.{name}' for name in told)}"
            f" FROM {batch_source(dialect, _TRANSITION)} WHERE true ORDER BY b.place"
        )

    def wake(self) -> None:
        """Tell the relays that events were written, once the transaction has committed."""
        self._outbox.wake()

    async def lock_of_rules(
        self, connection: AsyncConnection, rule_uids: Sequence[str]
    ) -> dict[str, dict[str, Alert]]:
        """Return the alerts of rules by fingerprint, and keep others from changing them."""
        rows = [{"uid": uid} for uid in rule_uids]
        found: dict[str, dict[str, Alert]] = {uid: {} for uid in rule_uids}
        params = batch_params(self._dialect, _UID, rows)
        for row in await connection.execute(self._of_rules, params):
            found[row.rule_uid][row.fingerprint] = _alert(row)
        return found

    async def get(
        self, connection: AsyncConnection, organization: str, alert_id: str, *, lock: bool = False
    ) -> Alert | None:
        """Return an alert; locked, nobody else changes it meanwhile."""
        query = select(ALERT).where(ALERT.c.organization == organization, ALERT.c.id == alert_id)
        if lock:
            query = query.with_for_update()
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else _alert(row)

    async def lock(self, connection: AsyncConnection, alert_ids: Sequence[str]) -> list[Alert]:
        """Return alerts, and keep others from changing them."""
        query = select(ALERT).where(ALERT.c.id.in_(alert_ids)).order_by(ALERT.c.id)
        return [_alert(row) for row in await connection.execute(query.with_for_update())]

    async def find(
        self,
        connection: AsyncConnection,
        organization: str,
        *,
        states: Sequence[AlertState],
        rule_id: str,
        before: str,
        limit: int,
    ) -> list[Alert]:
        """Return alerts in one of some states, the last made first, those before `before`."""
        wanted: list[ColumnElement[bool]] = [ALERT.c.organization == organization]
        if states:
            wanted.append(ALERT.c.state.in_([state.value for state in states]))
        if rule_id:
            wanted.append(ALERT.c.rule_id == rule_id)
        if before:
            wanted.append(ALERT.c.id < before)
        query = select(ALERT).where(*wanted).order_by(ALERT.c.id.desc()).limit(limit)
        return [_alert(row) for row in await connection.execute(query)]

    async def news(
        self, connection: AsyncConnection, organization: str, *, after: int, limit: int
    ) -> list[tuple[int, str]]:
        """Return the numbers of transitions after one, with the ids of their alerts, in order."""
        query = (
            select(ALERT_TRANSITION.c.id, ALERT_TRANSITION.c.alert_id)
            .where(ALERT_TRANSITION.c.organization == organization, ALERT_TRANSITION.c.id > after)
            .order_by(ALERT_TRANSITION.c.id)
            .limit(limit)
        )
        return [(row.id, row.alert_id) for row in await connection.execute(query)]

    async def newest(self, connection: AsyncConnection, organization: str) -> int:
        """Return the number of the newest transition; 0 when there is none."""
        query = select(func.max(ALERT_TRANSITION.c.id)).where(
            ALERT_TRANSITION.c.organization == organization
        )
        return (await connection.execute(query)).scalar_one() or 0

    async def get_all(
        self, connection: AsyncConnection, organization: str, alert_ids: Collection[str]
    ) -> dict[str, Alert]:
        """Return alerts by id."""
        query = select(ALERT).where(ALERT.c.organization == organization, ALERT.c.id.in_(alert_ids))
        return {row.id: _alert(row) for row in await connection.execute(query)}

    async def transitions(
        self,
        connection: AsyncConnection,
        organization: str,
        alert_id: str,
        *,
        before: str,
        limit: int,
    ) -> list[tuple[int, Transition]]:
        """Return the transitions of an alert by number, the newest first, those before `before`."""
        wanted: list[ColumnElement[bool]] = [
            ALERT_TRANSITION.c.organization == organization,
            ALERT_TRANSITION.c.alert_id == alert_id,
        ]
        if before.isdecimal():
            wanted.append(ALERT_TRANSITION.c.id < int(before))
        query = (
            select(ALERT_TRANSITION)
            .where(*wanted)
            .order_by(ALERT_TRANSITION.c.id.desc())
            .limit(limit)
        )
        return [(row.id, _transition(row)) for row in await connection.execute(query)]

    async def count(self, connection: AsyncConnection) -> Mapping[AlertState, int]:
        """Count the alerts of all organisations that are not resolved."""
        query = (
            select(ALERT.c.state, func.count().label("number"))
            .where(ALERT.c.state != AlertState.RESOLVED.value)
            .group_by(ALERT.c.state)
        )
        return {AlertState(row.state): row.number for row in await connection.execute(query)}

    async def write(self, connection: AsyncConnection, changed: Sequence[Changed]) -> None:
        """Write alerts that were locked or are new, their transitions, and the events of these."""
        if not changed:
            return
        rows = [_row(each.alert) for each in changed]
        await connection.execute(self._write, batch_params(self._dialect, _ALERT, rows))
        told = [(each.alert, each.transition) for each in changed if each.transition is not None]
        if told:
            transitions = [
                {
                    "organization": alert.organization,
                    "alert_id": alert.id,
                    "episode": transition.episode,
                    "time": transition.time,
                    "state": transition.state.value,
                    "value": transition.value,
                    "actor": transition.actor,
                    "reason": transition.reason,
                    "place": place,
                }
                for place, (alert, transition) in enumerate(told)
            ]
            params = batch_params(self._dialect, _TRANSITION, transitions)
            await connection.execute(self._tell, params)
            await self._outbox.add(connection, [_event(*each) for each in told])


def _event(alert: Alert, transition: Transition) -> Event:
    state = transition.state.name.lower()
    # What never fired was never told of as firing, so it is not told of as resolved.
    passed = transition.state is AlertState.RESOLVED and alert.firing_since is None
    data: dict[str, object] = {
        "rule": f"alertRules/{alert.rule_id}",
        "state": state,
        "severity": alert.severity.name.lower(),
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "value": transition.value,
        "episode": transition.episode,
        "flapping": alert.flaps(transition.time),
    }
    if transition.actor:
        data["actor"] = transition.actor
    if transition.reason:
        data["reason"] = transition.reason
    return make_event(
        source=SOURCE,
        type=f"brikk.alert.{'passed' if passed else state}.v1",
        subject=f"alerts/{alert.id}",
        organization=alert.organization,
        sequence=alert.sequence,
        time=transition.time,
        data=data,
    )


def _row(alert: Alert) -> dict[str, object]:
    return {
        **{name: getattr(alert, name) for name in _ALERT},
        "severity": alert.severity.value,
        "labels": to_json(dict(alert.labels)),
        "annotations": to_json(dict(alert.annotations)),
        "state": alert.state.value,
        "turns": to_json([to_microseconds(turn) for turn in alert.turns]),
    }


def _alert(row: Row[Any]) -> Alert:
    values = {name: getattr(row, name) for name in _ALERT}
    return Alert(
        **{
            **values,
            "severity": Severity(row.severity),
            "state": AlertState(row.state),
            "turns": tuple(from_microseconds(turn) for turn in row.turns),
        }
    )


def _transition(row: Row[Any]) -> Transition:
    return Transition(
        time=row.time,
        state=AlertState(row.state),
        episode=row.episode,
        value=row.value,
        actor=row.actor,
        reason=row.reason,
    )
