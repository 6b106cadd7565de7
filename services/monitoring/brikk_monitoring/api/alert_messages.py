"""Rules, alerts and transitions as messages, and what people say of rules read from them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration

from brikk.monitoring.v1 import alert_pb2, alert_rule_pb2, query_pb2
from brikk_monitoring.api.quantities import timestamp
from brikk_monitoring.api.query import read_dimensions
from brikk_monitoring.domain.alert import Alert, AlertState, Transition
from brikk_monitoring.domain.question import Aggregation
from brikk_monitoring.domain.rule import (
    Absence,
    BurnRate,
    Change,
    Condition,
    Definition,
    Inquiry,
    NoData,
    Rule,
    Severity,
    Side,
    Threshold,
)
from brikk_monitoring.domain.series import Dimension
from brikk_shared.errors import invalid_field

RULES: Final = "alertRules/"
ALERTS: Final = "alerts/"

_OPERATORS: Final = {
    Side.ABOVE: alert_rule_pb2.AlertRule.Threshold.OPERATOR_ABOVE,
    Side.BELOW: alert_rule_pb2.AlertRule.Threshold.OPERATOR_BELOW,
}
_NO_DATA: Final = {
    each: alert_rule_pb2.AlertRule.NoData.Value(f"NO_DATA_{each.name}") for each in NoData
}
_SEVERITIES: Final = {
    each: alert_rule_pb2.Severity.Value(f"SEVERITY_{each.name}") for each in Severity
}
_STATES: Final = {each: alert_pb2.Alert.State.Value(f"STATE_{each.name}") for each in AlertState}
_INTERVAL: Final = timedelta(minutes=1)
_WINDOW: Final = timedelta(minutes=5)


def rule_message(rule: Rule) -> alert_rule_pb2.AlertRule:
    """Turn a rule into its message."""
    message = definition_message(rule.definition)
    message.name = RULES + rule.id
    message.create_time.CopyFrom(timestamp(rule.create_time))
    message.update_time.CopyFrom(timestamp(rule.update_time))
    message.etag = rule.etag
    return message


def definition_message(definition: Definition) -> alert_rule_pb2.AlertRule:
    """Turn what people say of a rule into its message."""
    inquiry = definition.inquiry
    message = alert_rule_pb2.AlertRule(
        description=definition.description,
        question=alert_rule_pb2.AlertQuestion(
            metric=inquiry.metric,
            aggregation=query_pb2.Aggregation.Value(f"AGGREGATION_{inquiry.aggregation.name}"),
            window=_duration(inquiry.window),
            group_by=[_dimension(each) for each in inquiry.group_by],
            filters=[
                query_pb2.DimensionFilter(dimension=_dimension(name), value=value)
                for name, value in inquiry.filters.items()
            ],
            error_reason=inquiry.error_reason,
        ),
        interval=_duration(definition.interval),
        pending_for=_duration(definition.pending_for),
        keep_firing_for=_duration(definition.keep_firing_for),
        no_data=_NO_DATA[definition.no_data],
        severity=_SEVERITIES[definition.severity],
        labels=definition.labels,
        annotations=definition.annotations,
        disabled=definition.disabled,
    )
    match definition.condition:
        case Threshold(side=side, value=value, recovery=recovery):
            message.threshold.operator = _OPERATORS[side]
            message.threshold.value = value
            if recovery is not None:
                message.threshold.recovery = recovery
        case Change(side=side, ratio=ratio):
            message.change.operator = _OPERATORS[side]
            message.change.ratio = ratio
        case Absence():
            message.absence.SetInParent()
        case BurnRate(objective=objective):
            message.burn_rate.objective = objective
    return message


def read_definition(message: alert_rule_pb2.AlertRule) -> Definition:
    """Read what is said of a rule.

    Raises:
        InvalidArgument: it cannot be evaluated.
    """
    question = message.question
    filtered = read_dimensions(
        "alert_rule.question.filters", [each.dimension for each in question.filters]
    )
    aggregation = query_pb2.Aggregation.Name(question.aggregation or query_pb2.AGGREGATION_COUNT)
    definition = Definition(
        inquiry=Inquiry(
            metric=question.metric,
            aggregation=Aggregation[aggregation.removeprefix("AGGREGATION_")],
            window=question.window.ToTimedelta() if question.HasField("window") else _WINDOW,
            group_by=read_dimensions("alert_rule.question.group_by", question.group_by),
            filters={
                name: each.value for name, each in zip(filtered, question.filters, strict=True)
            },
            error_reason=question.error_reason,
        ),
        condition=_condition(message),
        description=message.description,
        interval=message.interval.ToTimedelta() if message.HasField("interval") else _INTERVAL,
        pending_for=message.pending_for.ToTimedelta(),
        keep_firing_for=message.keep_firing_for.ToTimedelta(),
        no_data=NoData(message.no_data or NoData.KEEP),
        severity=Severity(message.severity or Severity.WARNING),
        labels=dict(message.labels),
        annotations=dict(message.annotations),
        disabled=message.disabled,
    )
    definition.check()
    return definition


def alert_message(alert: Alert, now: datetime) -> alert_pb2.Alert:
    """Turn an alert into its message."""
    message = alert_pb2.Alert(
        name=ALERTS + alert.id,
        rule=RULES + alert.rule_id,
        state=_STATES[alert.state],
        severity=_SEVERITIES[alert.severity],
        labels=alert.labels,
        annotations=alert.annotations,
        value=alert.value,
        pending_time=timestamp(alert.pending_since),
        acknowledger=alert.acknowledger,
        flapping=alert.flaps(now),
        episode=alert.episode,
    )
    for field, moment in (
        (message.fire_time, alert.firing_since),
        (message.resolve_time, alert.resolved_at),
        (message.acknowledge_time, alert.acknowledged_at),
        (message.snooze_time, alert.snoozed_until),
    ):
        if moment is not None:
            field.FromDatetime(moment)
    return message


def transition_message(transition: Transition) -> alert_pb2.AlertTransition:
    """Turn a change of an alert's state into its message."""
    return alert_pb2.AlertTransition(
        time=timestamp(transition.time),
        state=_STATES[transition.state],
        episode=transition.episode,
        value=transition.value,
        actor=transition.actor,
        reason=transition.reason,
    )


def read_states(states: list[alert_pb2.Alert.State.ValueType]) -> list[AlertState]:
    """Read states to filter by.

    Raises:
        InvalidArgument: one is unspecified.
    """
    if alert_pb2.Alert.STATE_UNSPECIFIED in states:
        raise invalid_field("states", "must not be unspecified")
    return [AlertState(state) for state in states]


def _condition(message: alert_rule_pb2.AlertRule) -> Condition:
    match message.WhichOneof("condition"):
        case "threshold":
            given = message.threshold
            return Threshold(
                side=Side(given.operator),
                value=given.value,
                recovery=given.recovery if given.HasField("recovery") else None,
            )
        case "change":
            return Change(side=Side(message.change.operator), ratio=message.change.ratio)
        case "absence":
            return Absence()
        case "burn_rate":
            return BurnRate(objective=message.burn_rate.objective)
        case _:
            raise invalid_field("alert_rule.condition", "is required")


def _dimension(dimension: Dimension) -> query_pb2.Dimension.ValueType:
    return query_pb2.Dimension.Value(f"DIMENSION_{dimension.name}")


def _duration(length: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(length)
    return message
