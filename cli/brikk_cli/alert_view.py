"""How alert rules and alerts look to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brikk.monitoring.v1 import alert_pb2, alert_rule_pb2, alerting_service_pb2, query_pb2
from brikk_cli.metrics_view import aggregation_name, number
from brikk_cli.render import duration, moment, plain, state, table


def rules_table(rules: Iterable[alert_rule_pb2.AlertRule]) -> Table:
    """A line per rule."""
    rows = (
        (
            each.name,
            "off" if each.disabled else _severity(each.severity),
            _question(each),
            _condition(each),
            duration(each.pending_for.ToTimedelta()) if each.pending_for.ByteSize() else "at once",
            each.description,
        )
        for each in rules
    )
    return table(("rule", "severity", "asks for", "holds while", "fires", "description"), rows)


def alerts_table(alerts: Iterable[alert_pb2.Alert]) -> Table:
    """A line per alert."""
    rows = (
        (
            each.name,
            alert_state(each),
            _severity(each.severity),
            _labels(each.labels),
            number(each.value),
            moment(each.fire_time if each.HasField("fire_time") else each.pending_time),
            each.annotations.get("summary", ""),
        )
        for each in alerts
    )
    return table(("alert", "state", "severity", "labels", "value", "since", "summary"), rows)


def alert_line(alert: alert_pb2.Alert) -> Text:
    """An alert that changed, in a line."""
    summary = alert.annotations.get("summary", "")
    what = f" {alert.name} {_labels(alert.labels)} {number(alert.value)} {summary}"
    return alert_state(alert).append_text(plain(what.rstrip()))


def alert_view(
    alert: alert_pb2.Alert, transitions: Iterable[alert_pb2.AlertTransition] = ()
) -> RenderableType:
    """An alert with what it says, and how it changed."""
    head = plain(f"{alert.name}: ").append_text(alert_state(alert))
    facts = {
        "rule": alert.rule,
        "severity": _severity(alert.severity),
        "labels": _labels(alert.labels),
        "value": number(alert.value),
        "acknowledged by": alert.acknowledger,
        "snoozed until": moment(alert.snooze_time),
        **alert.annotations,
    }
    lines = [plain(f"{name}: {fact}") for name, fact in facts.items() if fact]
    rows = [
        (
            moment(each.time),
            state(alert_pb2.Alert.State.Name(each.state)),
            number(each.value),
            each.actor,
            each.reason,
        )
        for each in transitions
    ]
    changes = [table(("since", "state", "value", "by", "because"), rows)] if rows else []
    return Group(head, *lines, *changes)


def preview_table(preview: alerting_service_pb2.PreviewRuleResponse) -> RenderableType:
    """A line per change that would have been."""
    rows = (
        (
            moment(each.transition.time),
            state(alert_pb2.Alert.State.Name(each.transition.state)),
            _labels(each.labels),
            number(each.transition.value),
            each.transition.reason,
        )
        for each in preview.transitions
    )
    changes = table(("time", "state", "labels", "value", "because"), rows)
    return Group(changes, plain(f"{preview.evaluations} evaluations"))


def alert_state(alert: alert_pb2.Alert) -> Text:
    """Where it stands, in its colour."""
    shown = state(alert_pb2.Alert.State.Name(alert.state))
    return shown.append(" (flapping)") if alert.flapping else shown


def _severity(severity: alert_rule_pb2.Severity.ValueType) -> str:
    return alert_rule_pb2.Severity.Name(severity).removeprefix("SEVERITY_").lower()


def _labels(labels: Mapping[str, str]) -> str:
    return " ".join(
        f"{name}={value}" for name, value in sorted(labels.items()) if name != "severity"
    )


def _question(rule: alert_rule_pb2.AlertRule) -> str:
    question = rule.question
    what = aggregation_name(question.aggregation)
    if question.error_reason:
        what = "failures" if question.error_reason == "*" else question.error_reason
    by = [
        query_pb2.Dimension.Name(each).removeprefix("DIMENSION_").lower()
        for each in question.group_by
    ]
    window = duration(question.window.ToTimedelta())
    return f"{what} of {question.metric} in {window}" + (f" by {', '.join(by)}" if by else "")


def _condition(rule: alert_rule_pb2.AlertRule) -> str:
    match rule.WhichOneof("condition"):
        case "threshold":
            return f"{_side(rule.threshold.operator)} {number(rule.threshold.value)}"
        case "change":
            return f"change {_side(rule.change.operator)} {rule.change.ratio:+.0%}"
        case "burn_rate":
            return f"burning the budget of {rule.burn_rate.objective:.4%}"
        case _:
            return "absent"


def _side(operator: alert_rule_pb2.AlertRule.Threshold.Operator.ValueType) -> str:
    return "above" if operator == alert_rule_pb2.AlertRule.Threshold.OPERATOR_ABOVE else "below"
