"""What people say of rules, as the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, cast

from brikk_monitoring.domain.question import Aggregation
from brikk_monitoring.domain.rule import (
    Absence,
    BurnRate,
    Change,
    Condition,
    Definition,
    Inquiry,
    NoData,
    Severity,
    Side,
    Threshold,
)
from brikk_monitoring.domain.series import Dimension

_MICROSECOND: Final = timedelta(microseconds=1)


def to_document(definition: Definition) -> dict[str, object]:
    """Turn a definition into JSON; lengths of time are microseconds."""
    inquiry = definition.inquiry
    return {
        "metric": inquiry.metric,
        "aggregation": inquiry.aggregation.value,
        "window": inquiry.window // _MICROSECOND,
        "group_by": [each.value for each in inquiry.group_by],
        "filters": {name.value: value for name, value in inquiry.filters.items()},
        "error_reason": inquiry.error_reason,
        "condition": _condition_document(definition.condition),
        "description": definition.description,
        "interval": definition.interval // _MICROSECOND,
        "pending_for": definition.pending_for // _MICROSECOND,
        "keep_firing_for": definition.keep_firing_for // _MICROSECOND,
        "no_data": definition.no_data.value,
        "severity": definition.severity.value,
        "labels": dict(definition.labels),
        "annotations": dict(definition.annotations),
        "disabled": definition.disabled,
    }


def from_document(document: object) -> Definition:
    """Read a definition."""
    given = cast("Mapping[str, Any]", document)
    return Definition(
        inquiry=Inquiry(
            metric=given["metric"],
            aggregation=Aggregation(given["aggregation"]),
            window=given["window"] * _MICROSECOND,
            group_by=tuple(Dimension(each) for each in given["group_by"]),
            filters={Dimension(name): value for name, value in given["filters"].items()},
            error_reason=given["error_reason"],
        ),
        condition=_condition(given["condition"]),
        description=given["description"],
        interval=given["interval"] * _MICROSECOND,
        pending_for=given["pending_for"] * _MICROSECOND,
        keep_firing_for=given["keep_firing_for"] * _MICROSECOND,
        no_data=NoData(given["no_data"]),
        severity=Severity(given["severity"]),
        labels=given["labels"],
        annotations=given["annotations"],
        disabled=given["disabled"],
    )


def _condition_document(condition: Condition) -> dict[str, object]:
    match condition:
        case Threshold(side=side, value=value, recovery=recovery):
            return {"kind": "threshold", "side": side, "value": value, "recovery": recovery}
        case Change(side=side, ratio=ratio):
            return {"kind": "change", "side": side, "ratio": ratio}
        case Absence():
            return {"kind": "absence"}
        case BurnRate(objective=objective):
            return {"kind": "burn_rate", "objective": objective}


def _condition(given: Mapping[str, Any]) -> Condition:
    match given["kind"]:
        case "threshold":
            return Threshold(
                side=Side(given["side"]), value=given["value"], recovery=given["recovery"]
            )
        case "change":
            return Change(side=Side(given["side"]), ratio=given["ratio"])
        case "absence":
            return Absence()
        case _:
            return BurnRate(objective=given["objective"])
