"""Silences, maintenance windows, policies and routes as messages, and read from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from brikk.monitoring.v1 import escalation_pb2, silence_pb2
from brikk_monitoring.domain.escalation import EscalationPolicy, Hours, Level
from brikk_monitoring.domain.inhibition import InhibitionRule
from brikk_monitoring.domain.maintenance import MaintenanceWindow
from brikk_monitoring.domain.matcher import Matcher, Matchers, Operator
from brikk_monitoring.domain.route import Route, RoutingTree
from brikk_monitoring.domain.setting import Setting
from brikk_monitoring.domain.silence import Silence, SilenceState
from brikk_shared.calendar import read_cron, zone_problem
from brikk_shared.errors import invalid_field
from brikk_shared.times import to_duration, to_timestamp

CHANNELS: Final = "notificationChannels/"
POLICIES: Final = "escalationPolicies/"
ROUTING_TREE: Final = "routingTree"

_STATES: Final = {
    each: silence_pb2.Silence.State.Value(f"STATE_{each.name}") for each in SilenceState
}
_OPERATORS: Final = {
    each: silence_pb2.Matcher.Operator.Value(f"OPERATOR_{each.name}") for each in Operator
}
_LENGTHS: Final = ("group_wait", "group_interval", "repeat_interval")


def silence_message(setting: Setting[Silence], now: datetime) -> silence_pb2.Silence:
    """Turn a silence into its message."""
    silence = setting.content
    return silence_pb2.Silence(
        name=f"silences/{setting.id}",
        matchers=_matcher_messages(silence.matchers),
        start_time=to_timestamp(silence.start_time),
        end_time=to_timestamp(silence.end_time),
        comment=silence.comment,
        creator=silence.creator,
        state=_STATES[silence.state(now)],
        create_time=to_timestamp(setting.create_time),
        update_time=to_timestamp(setting.update_time),
        etag=setting.etag,
    )


def read_silence(message: silence_pb2.Silence, creator: str, now: datetime) -> Silence:
    """Read a silence, which begins now unless it says when.

    Raises:
        InvalidArgument: it cannot be one.
    """
    begins = message.HasField("start_time")
    silence = Silence(
        matchers=read_matchers(message.matchers),
        start_time=message.start_time.ToDatetime(UTC) if begins else now,
        end_time=message.end_time.ToDatetime(UTC),
        comment=message.comment,
        creator=creator,
    )
    silence.check()
    return silence


def window_message(
    setting: Setting[MaintenanceWindow], now: datetime
) -> silence_pb2.MaintenanceWindow:
    """Turn a maintenance window into its message."""
    window = setting.content
    return silence_pb2.MaintenanceWindow(
        name=f"maintenanceWindows/{setting.id}",
        matchers=_matcher_messages(window.matchers),
        schedule=window.schedule.expression,
        duration=to_duration(window.duration),
        time_zone=window.schedule.zone,
        comment=window.comment,
        active=window.active(now),
        create_time=to_timestamp(setting.create_time),
        update_time=to_timestamp(setting.update_time),
        etag=setting.etag,
    )


def read_window(message: silence_pb2.MaintenanceWindow) -> MaintenanceWindow:
    """Read a maintenance window.

    Raises:
        InvalidArgument: it cannot be one.
    """
    zone = message.time_zone or "UTC"
    if problem := zone_problem(zone):
        raise invalid_field("maintenance_window.time_zone", problem)
    try:
        schedule = read_cron(message.schedule, zone)
    except ValueError as error:
        raise invalid_field("maintenance_window.schedule", str(error)) from error
    window = MaintenanceWindow(
        schedule=schedule,
        duration=message.duration.ToTimedelta(),
        matchers=read_matchers(message.matchers),
        comment=message.comment,
    )
    window.check()
    return window


def policy_message(
    setting: Setting[EscalationPolicy],
) -> escalation_pb2.EscalationPolicy:
    """Turn a policy into its message."""
    policy = setting.content
    message = escalation_pb2.EscalationPolicy(
        name=POLICIES + setting.id,
        description=policy.description,
        levels=[
            escalation_pb2.EscalationPolicy.Level(
                channels=[CHANNELS + each for each in level.channels],
                timeout=to_duration(level.timeout),
            )
            for level in policy.levels
        ],
        loops=policy.loops,
        create_time=to_timestamp(setting.create_time),
        update_time=to_timestamp(setting.update_time),
        etag=setting.etag,
    )
    if policy.acknowledge_timeout is not None:
        message.acknowledge_timeout.FromTimedelta(policy.acknowledge_timeout)
    if policy.hours is not None:
        message.hours.SetInParent()
        message.hours.days.extend(sorted(policy.hours.days))
        message.hours.begin_minute = policy.hours.begin_minute
        message.hours.end_minute = policy.hours.end_minute
        message.hours.time_zone = policy.hours.zone
    return message


def read_policy(message: escalation_pb2.EscalationPolicy) -> EscalationPolicy:
    """Read a policy.

    Raises:
        InvalidArgument: it cannot be one.
    """
    hours = None
    if message.HasField("hours"):
        hours = Hours(
            days=frozenset(message.hours.days),
            begin_minute=message.hours.begin_minute,
            end_minute=message.hours.end_minute,
            zone=message.hours.time_zone or "UTC",
        )
    policy = EscalationPolicy(
        levels=tuple(
            Level(channels=_ids(CHANNELS, level.channels), timeout=level.timeout.ToTimedelta())
            for level in message.levels
        ),
        loops=message.loops,
        acknowledge_timeout=_length(message, "acknowledge_timeout"),
        hours=hours,
        description=message.description,
    )
    policy.check()
    return policy


def tree_message(setting: Setting[RoutingTree]) -> escalation_pb2.RoutingTree:
    """Turn the routes into their message."""
    message = escalation_pb2.RoutingTree(
        name=ROUTING_TREE,
        routes=map(_route_message, setting.content.routes),
        inhibition_rules=[
            escalation_pb2.InhibitionRule(
                source_matchers=_matcher_messages(rule.source_matchers),
                target_matchers=_matcher_messages(rule.target_matchers),
                equal=rule.equal,
            )
            for rule in setting.content.inhibition_rules
        ],
        etag=setting.etag,
    )
    if setting.revision:
        message.update_time.FromDatetime(setting.update_time)
    return message


def read_tree(message: escalation_pb2.RoutingTree) -> RoutingTree:
    """Read the routes.

    Raises:
        InvalidArgument: they are no tree.
    """
    tree = RoutingTree(
        routes=tuple(map(_read_route, message.routes)),
        inhibition_rules=tuple(
            InhibitionRule(
                source_matchers=read_matchers(rule.source_matchers),
                target_matchers=read_matchers(rule.target_matchers),
                equal=tuple(rule.equal),
            )
            for rule in message.inhibition_rules
        ),
    )
    tree.check()
    return tree


def read_matchers(messages: Iterable[silence_pb2.Matcher]) -> Matchers:
    """Read matchers."""
    return tuple(
        Matcher(
            label=each.label, operator=Operator(each.operator or Operator.EQUAL), value=each.value
        )
        for each in messages
    )


def _matcher_messages(matchers: Matchers) -> list[silence_pb2.Matcher]:
    return [
        silence_pb2.Matcher(
            label=each.label,
            operator=_OPERATORS[each.operator],
            value=each.value,
        )
        for each in matchers
    ]


def _route_message(route: Route) -> escalation_pb2.Route:
    message = escalation_pb2.Route(
        id=route.id,
        parent=route.parent,
        matchers=_matcher_messages(route.matchers),
        continue_matching=route.continue_matching,
        channels=[CHANNELS + each for each in route.channels],
        escalation_policy=POLICIES + route.escalation_policy if route.escalation_policy else "",
        group_by=route.group_by,
    )
    for name in _LENGTHS:
        length: timedelta | None = getattr(route, name)
        if length is not None:
            getattr(message, name).FromTimedelta(length)
    return message


def _read_route(message: escalation_pb2.Route) -> Route:
    return Route(
        id=message.id,
        parent=message.parent,
        matchers=read_matchers(message.matchers),
        continue_matching=message.continue_matching,
        channels=_ids(CHANNELS, message.channels),
        escalation_policy=message.escalation_policy.removeprefix(POLICIES),
        group_by=tuple(message.group_by),
        group_wait=_length(message, "group_wait"),
        group_interval=_length(message, "group_interval"),
        repeat_interval=_length(message, "repeat_interval"),
    )


def _ids(prefix: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.removeprefix(prefix) for name in names)


def _length(message: Message, field: str) -> timedelta | None:
    found: Duration = getattr(message, field)
    return found.ToTimedelta() if message.HasField(field) else None
