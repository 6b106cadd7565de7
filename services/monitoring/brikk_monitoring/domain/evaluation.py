"""One evaluation of a rule: what was read of its groups, folded into its alerts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from brikk_monitoring.domain.alert import Alert, AlertState, Changed
from brikk_monitoring.domain.condition import Finding, Part, find, unobserved
from brikk_monitoring.domain.question import Place
from brikk_monitoring.domain.rule import Absence, Rule

Readings = Mapping[Place, Sequence[Part]]
"""What was read of each group."""

_MOST_CHARACTERS: Final = 2000
"""Of an annotation, whatever labels stand in it."""
_PLACEHOLDER: Final = re.compile(r"\{\{\s*(value|labels\.[A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


def evaluate(
    rule: Rule,
    readings: Readings,
    alerts: Mapping[str, Alert],
    now: datetime,
    make_id: Callable[[], str],
) -> list[Changed]:
    """Return the alerts of a rule, by fingerprint in `alerts`, that an evaluation has changed."""
    definition = rule.definition
    found: dict[str, Finding] = {}
    places = {fingerprint_of(place): place for place in readings}
    for fingerprint, place in places.items():
        alert = alerts.get(fingerprint)
        held = alert is not None and alert.state is not AlertState.RESOLVED
        found[fingerprint] = find(definition, readings[place], held=held)
    for fingerprint in alerts.keys() - found.keys():
        gone = unobserved(definition)
        if isinstance(definition.condition, Absence):
            gone = Finding(value=0.0, holds=False)  # absent for so long that it is forgotten
        found[fingerprint] = gone
    changed = []
    for fingerprint, finding in found.items():
        before = alerts.get(fingerprint)
        if before is None:
            if not finding.holds:
                continue
            before = _begin(rule, places[fingerprint], fingerprint, now, make_id())
        elif before.state is AlertState.RESOLVED and not (finding.holds and fingerprint in places):
            continue
        after = before.observed(finding, definition, now)
        after = replace(after, alert=_described(after.alert, rule))
        if after.alert != before:
            changed.append(after)
    return changed


def fingerprint_of(place: Place) -> str:
    """Name a group within its rule."""
    return ";".join(f"{name}={value}" for name, value in sorted(place))


def _begin(rule: Rule, place: Place, fingerprint: str, now: datetime, alert_id: str) -> Alert:
    return Alert(
        id=alert_id,
        organization=rule.organization,
        rule_uid=rule.uid,
        rule_id=rule.id,
        fingerprint=fingerprint,
        severity=rule.definition.severity,
        labels={name.value: value for name, value in place},
        annotations={},
        pending_since=now,
    )


def _described(alert: Alert, rule: Rule) -> Alert:
    """Return it with what its rule says by now."""
    definition = rule.definition
    dimensions = dict(part.split("=", 1) for part in alert.fingerprint.split(";") if part)
    labels = {
        **definition.labels,
        **dimensions,
        "alertname": rule.id,
        "severity": definition.severity.name.lower(),
    }

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name == "value":
            return f"{alert.value:.4g}"
        return labels.get(name.removeprefix("labels."), "")

    return replace(
        alert,
        severity=definition.severity,
        labels=labels,
        annotations={
            name: _PLACEHOLDER.sub(fill, text)[:_MOST_CHARACTERS]
            for name, text in definition.annotations.items()
        },
    )
