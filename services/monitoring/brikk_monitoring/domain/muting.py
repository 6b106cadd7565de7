"""Why nobody is told of an alert: silenced, in maintenance, inhibited or snoozed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from brikk_monitoring.domain.inhibition import Inhibitors
from brikk_monitoring.domain.maintenance import MaintenanceWindow
from brikk_monitoring.domain.matcher import Labels, match_all
from brikk_monitoring.domain.silence import Silence, SilenceState


class Withheld(StrEnum):
    """Kinds of reasons for which nobody is told, as each reason begins."""

    SILENCED = "silenced by"
    MAINTENANCE = "in maintenance by"
    INHIBITED = "inhibited by"
    SNOOZED = "snoozed"
    OUTSIDE_HOURS = "outside the hours of the escalation policy"

    @staticmethod
    def kind_of(reason: str) -> Withheld:
        """Return the kind of a reason."""
        return next(kind for kind in Withheld if reason.startswith(kind))


class Mutes:
    """What mutes alerts at a moment, made ready for many of them."""

    def __init__(
        self,
        silences: Mapping[str, Silence],
        windows: Mapping[str, MaintenanceWindow],
        inhibitors: Inhibitors,
        now: datetime,
    ) -> None:
        self._inhibitors = inhibitors
        self._covers = [
            (f"{Withheld.SILENCED} silences/{silence_id}", silence.matchers)
            for silence_id, silence in sorted(silences.items())
            if silence.state(now) is SilenceState.ACTIVE
        ]
        self._covers += [
            (f"{Withheld.MAINTENANCE} maintenanceWindows/{window_id}", window.matchers)
            for window_id, window in sorted(windows.items())
            if window.active(now)
        ]

    def reason(self, labels: Labels, *, snoozed: bool) -> str:
        """Return why nobody is told of an alert; empty when people are."""
        if snoozed:
            return Withheld.SNOOZED
        for reason, matchers in self._covers:
            if match_all(matchers, labels):
                return reason
        inhibitor = self._inhibitors.inhibitor_of(labels)
        return "" if inhibitor is None else f"{Withheld.INHIBITED} alerts/{inhibitor}"
