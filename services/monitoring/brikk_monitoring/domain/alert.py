"""The life of an alert: what the findings of its rule and the words of people make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from brikk_monitoring.domain.condition import Finding
from brikk_monitoring.domain.rule import Definition, Severity
from brikk_shared.errors import FailedPrecondition, Reason

_FLAPPING: Final = 4
"""An alert flaps that has begun to fire so often within the hour."""
_HOUR: Final = timedelta(hours=1)
CALM: Final = timedelta(minutes=10)
"""An alert that flaps is resolved only when its condition has not held for so long."""


class AlertState(IntEnum):
    """Where an alert stands; the numbers are those that are stored."""

    PENDING = 1
    FIRING = 2
    ACKNOWLEDGED = 3
    SNOOZED = 4
    RESOLVED = 5

    @property
    def fires(self) -> bool:
        """Whether its condition has held for long enough, and people may be told."""
        return self in (AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.SNOOZED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """A change of an alert's state."""

    time: datetime
    state: AlertState
    episode: int
    value: float
    actor: str = ""
    """Who changed it; empty when the rule did."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """An alert as it is after an evaluation or a verb, and its change of state if there is one."""

    alert: Alert
    transition: Transition | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """An alert; `observed` and the verbs tell how it is afterwards."""

    id: str
    organization: str
    rule_uid: str
    rule_id: str
    fingerprint: str
    severity: Severity
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: AlertState = AlertState.RESOLVED
    value: float = 0.0
    pending_since: datetime
    firing_since: datetime | None = None
    released_at: datetime | None = None
    """Since when the condition does not hold, while it fires on."""
    resolved_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledger: str = ""
    snoozed_until: datetime | None = None
    turns: tuple[datetime, ...] = ()
    """When it lately began to fire."""
    episode: int = 0
    sequence: int = 0

    def flaps(self, now: datetime) -> bool:
        """Tell whether it begins and ends to fire again and again."""
        return sum(now - turn < _HOUR for turn in self.turns) >= _FLAPPING

    def observed(self, finding: Finding, definition: Definition, now: datetime) -> Changed:
        """Take in what an evaluation found."""
        if finding.holds:
            return self._holding(finding.value, definition.pending_for, now)
        if finding.holds is False:
            return self._released(definition.keep_firing_for, now)
        return self._woken(now)

    def acknowledged(self, actor: str, now: datetime) -> Changed:
        """Note that somebody looks after it.

        Raises:
            FailedPrecondition: it does not fire.
        """
        self._check_fires()
        if self.state is AlertState.ACKNOWLEDGED:
            return Changed(alert=self)
        alert = replace(self, acknowledged_at=now, acknowledger=actor, snoozed_until=None)
        return alert._entered(AlertState.ACKNOWLEDGED, now, actor=actor)

    def snoozed(self, actor: str, until: datetime, now: datetime) -> Changed:
        """Let nobody be told of it for a while.

        Raises:
            FailedPrecondition: it does not fire.
        """
        self._check_fires()
        alert = replace(self, snoozed_until=until)
        return alert._entered(AlertState.SNOOZED, now, actor=actor)

    def doubted(self, timeout: timedelta, now: datetime) -> Changed:
        """Take in that somebody has looked after it for so long, and it still fires."""
        since = self.acknowledged_at
        if self.state is not AlertState.ACKNOWLEDGED or since is None or now - since < timeout:
            return Changed(alert=self)
        alert = replace(self, acknowledged_at=None, acknowledger="")
        return alert._entered(AlertState.FIRING, now, reason="the acknowledgement is over")

    def resolved(self, now: datetime, *, actor: str = "", reason: str = "") -> Changed:
        """End it, whatever its condition says; that may begin a new episode."""
        if self.state is AlertState.RESOLVED:
            return Changed(alert=self)
        alert = replace(self, resolved_at=now, released_at=None, snoozed_until=None)
        return alert._entered(AlertState.RESOLVED, now, actor=actor, reason=reason)

    def _holding(self, value: float, pending_for: timedelta, now: datetime) -> Changed:
        alert = replace(self, value=value, released_at=None)
        if alert.state.fires:
            return alert._woken(now)
        if alert.state is AlertState.RESOLVED:
            alert = replace(
                alert,
                pending_since=now,
                firing_since=None,
                resolved_at=None,
                acknowledged_at=None,
                acknowledger="",
                episode=alert.episode + 1,
            )
            if pending_for:
                return alert._entered(AlertState.PENDING, now)
        if now - alert.pending_since < pending_for:
            return Changed(alert=alert)
        turns = tuple(turn for turn in alert.turns if now - turn < _HOUR)
        alert = replace(alert, firing_since=now, turns=(*turns, now)[-_FLAPPING:])
        return alert._entered(AlertState.FIRING, now)

    def _released(self, keep_firing_for: timedelta, now: datetime) -> Changed:
        if self.state is AlertState.RESOLVED:
            return Changed(alert=self)
        if self.state is AlertState.PENDING:
            return self.resolved(now, reason="the condition did not hold for long enough")
        patience = max(keep_firing_for, CALM) if self.flaps(now) else keep_firing_for
        alert = replace(self, released_at=self.released_at or now)
        if now - (alert.released_at or now) < patience:
            return alert._woken(now)
        return alert.resolved(now, reason="the condition no longer holds")

    def _woken(self, now: datetime) -> Changed:
        if self.snoozed_until is None or now < self.snoozed_until:
            return Changed(alert=self)
        alert = replace(self, snoozed_until=None)
        return alert._entered(AlertState.FIRING, now, reason="the snooze is over")

    def _entered(
        self, state: AlertState, now: datetime, *, actor: str = "", reason: str = ""
    ) -> Changed:
        alert = replace(self, state=state, sequence=self.sequence + 1)
        transition = Transition(
            time=now,
            state=state,
            episode=alert.episode,
            value=alert.value,
            actor=actor,
            reason=reason,
        )
        return Changed(alert=alert, transition=transition)

    def _check_fires(self) -> None:
        if not self.state.fires:
            name = f"alerts/{self.id}"
            raise FailedPrecondition(
                Reason.WRONG_STATE,
                f"{name} is {self.state.name}, so it does not fire",
                metadata={"resource": name, "state": self.state.name},
            )
