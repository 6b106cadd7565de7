"""How silences, routes and notifications look to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.tree import Tree

from brikk.monitoring.v1 import escalation_pb2, notification_pb2, silence_pb2
from brikk_cli.render import duration, moment, plain, state, table

_SIGNS: Final = {
    silence_pb2.Matcher.OPERATOR_UNSPECIFIED: "=",
    silence_pb2.Matcher.OPERATOR_EQUAL: "=",
    silence_pb2.Matcher.OPERATOR_NOT_EQUAL: "!=",
    silence_pb2.Matcher.OPERATOR_MATCHES: "=~",
    silence_pb2.Matcher.OPERATOR_NOT_MATCHES: "!~",
}


def silences_table(silences: Iterable[silence_pb2.Silence]) -> Table:
    """A line per silence."""
    rows = (
        (
            each.name,
            state(silence_pb2.Silence.State.Name(each.state)),
            _matchers(each.matchers),
            moment(each.start_time),
            moment(each.end_time),
            each.creator,
            each.comment,
        )
        for each in silences
    )
    return table(("silence", "state", "of alerts with", "from", "until", "by", "because"), rows)


def windows_table(windows: Iterable[silence_pb2.MaintenanceWindow]) -> Table:
    """A line per maintenance window."""
    rows = (
        (
            each.name,
            "lasts" if each.active else "",
            _matchers(each.matchers) or "all",
            f"{each.schedule} {each.time_zone}",
            duration(each.duration.ToTimedelta()),
            each.comment,
        )
        for each in windows
    )
    return table(("window", "now", "of alerts with", "begins", "lasts for", "because"), rows)


def policies_table(policies: Iterable[escalation_pb2.EscalationPolicy]) -> Table:
    """A line per policy."""
    rows = (
        (
            each.name,
            ", then ".join(
                f"{' and '.join(level.channels)} for {duration(level.timeout.ToTimedelta())}"
                for level in each.levels
            ),
            str(each.loops),
            each.description,
        )
        for each in policies
    )
    return table(("policy", "tells", "loops", "description"), rows)


def routes_view(routes: escalation_pb2.RoutingTree) -> RenderableType:
    """The routes as a tree, then which alerts inhibit others."""
    if not routes.routes:
        return plain("no routes: nobody is told of anything")
    places: dict[str, Tree] = {}
    for route in routes.routes:
        line = plain(_route(route))
        above = places.get(route.parent)
        places[route.id] = Tree(line) if above is None else above.add(line)
    rules = [
        plain(
            f"{_matchers(rule.source_matchers)} inhibits {_matchers(rule.target_matchers)}"
            + (f" with the same {', '.join(rule.equal)}" if rule.equal else "")
        )
        for rule in routes.inhibition_rules
    ]
    return Group(places[routes.routes[0].id], *rules)


def explanation_view(
    explained: escalation_pb2.ExplainAlertResponse,
    notifications: Iterable[notification_pb2.Notification],
) -> RenderableType:
    """Where an alert goes, why nobody is told, and who was."""
    reason = explained.reason
    if not explained.destinations:
        reason = "there are no routes"
    head = f"nobody is told: {reason}" if reason else "people are told"
    rows = (
        (
            each.route,
            each.escalation_policy or ", ".join(each.channels),
            _labels(each.group_labels),
            moment(each.next_time),
        )
        for each in explained.destinations
    )
    places = table(("route", "tells", "together with", "looked at next"), rows)
    return Group(plain(head), places, notices_table(notifications))


def notices_table(notifications: Iterable[notification_pb2.Notification]) -> Table:
    """A line per notification."""
    rows = (
        (
            moment(each.create_time),
            each.channel,
            state(notification_pb2.Notification.State.Name(each.state)),
            _labels(each.group_labels),
            str(each.level or ""),
            f"{len(each.firing_alerts)} firing, {len(each.resolved_alerts)} resolved",
            each.reason,
        )
        for each in notifications
    )
    return table(("time", "channel", "state", "group", "level", "of", "because"), rows)


def _route(route: escalation_pb2.Route) -> str:
    parts = [f"{route.id}:", _matchers(route.matchers) or "all"]
    told = [*route.channels, route.escalation_policy] if route.escalation_policy else route.channels
    if told:
        parts.append(f"-> {', '.join(told)}")
    if route.group_by:
        parts.append(f"by {', '.join(route.group_by)}")
    lengths = {
        "group_wait": route.group_wait,
        "group_interval": route.group_interval,
        "repeat_interval": route.repeat_interval,
    }
    parts += [
        f"{name} {duration(length.ToTimedelta())}"
        for name, length in lengths.items()
        if length.ByteSize()
    ]
    if route.continue_matching:
        parts.append("and on")
    return " ".join(parts)


def _matchers(matchers: Iterable[silence_pb2.Matcher]) -> str:
    return " ".join(f"{each.label}{_SIGNS[each.operator]}{each.value}" for each in matchers)


def _labels(labels: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()))
