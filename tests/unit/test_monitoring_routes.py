"""Which alerts are meant, where they go, and of which nobody is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_monitoring.domain.inhibition import InhibitionRule, Inhibitors
from brikk_monitoring.domain.maintenance import MaintenanceWindow
from brikk_monitoring.domain.matcher import Matcher, Operator, check_matchers, match_all
from brikk_monitoring.domain.muting import Mutes, Withheld
from brikk_monitoring.domain.route import Destination, Route, Routing, RoutingTree
from brikk_monitoring.domain.silence import Silence, SilenceState
from brikk_shared.calendar import read_cron
from brikk_shared.errors import InvalidArgument

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def matcher(text: str) -> Matcher:
    """Read `label=value` and the like."""
    for operator in sorted(Operator, key=lambda each: -len(each.sign)):
        label, sign, value = text.partition(operator.sign)
        if sign:
            return Matcher(label=label, operator=operator, value=value)
    raise ValueError(text)


def matchers(*texts: str) -> tuple[Matcher, ...]:
    return tuple(matcher(text) for text in texts)


@pytest.mark.parametrize(
    ("text", "value", "matches"),
    [
        ("a=x", "x", True),
        ("a=x", "xy", False),
        ("a=", None, True),
        ("a!=x", None, True),
        ("a!=x", "x", False),
        ("a=~x|y", "y", True),
        ("a=~x|y", "xy", False),
        ("a=~.*", None, True),
        ("a!~x.*", "xy", False),
        ("a!~x.+", "x", True),
    ],
)
def test_a_matcher_compares_the_whole_of_a_label(
    text: str, value: str | None, matches: bool
) -> None:
    found = matcher(text)
    assert str(found) == text
    assert found.matches({} if value is None else {"a": value}) is matches


def test_what_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"m\[1\]\.value"):
        check_matchers("m", matchers("a=(", "b=~("))


TREE = RoutingTree(
    routes=(
        Route(id="root", channels=("ops",), group_by=("alertname",), group_wait=MINUTE),
        Route(id="db", parent="root", matchers=matchers("team=db"), escalation_policy="night"),
        Route(id="db-slow", parent="db", matchers=matchers("kind=slow"), group_wait=HOUR),
        Route(
            id="all",
            parent="root",
            matchers=matchers("severity=~critical|warning"),
            continue_matching=True,
            channels=("archive",),
            group_by=("...",),
        ),
        Route(id="critical", parent="root", matchers=matchers("severity=critical")),
    )
)


@pytest.mark.parametrize(
    ("labels", "routes"),
    [
        ({}, ["root"]),
        ({"team": "db"}, ["db"]),
        ({"team": "db", "kind": "slow"}, ["db-slow"]),
        ({"severity": "warning"}, ["all"]),
        ({"severity": "critical"}, ["all", "critical"]),
        ({"severity": "critical", "team": "db"}, ["db"]),
    ],
)
def test_an_alert_goes_to_the_deepest_routes_that_it_matches(
    labels: Mapping[str, str], routes: Sequence[str]
) -> None:
    TREE.check()
    assert [each.route for each in Routing(TREE).find(labels)] == routes


def test_a_route_has_what_it_does_not_say_from_above() -> None:
    destinations = Routing(TREE).destinations
    assert destinations["db-slow"] == Destination(
        route="db-slow", escalation_policy="night", group_by=("alertname",), group_wait=HOUR
    )
    assert destinations["critical"].channels == ("ops",)
    labels = {"b": "1", "alertname": "x"}
    assert destinations["db"].group_labels(labels) == {"alertname": "x"}
    assert destinations["all"].group_labels(labels) == labels
    assert Routing(RoutingTree()).find(labels) == []


ROOT = Route(id="root", channels=("ops",))


@pytest.mark.parametrize(
    ("routes", "field"),
    [
        ([Route(id="root")], "routes[0].channels"),
        ([replace(ROOT, parent="x")], "routes[0].parent"),
        ([replace(ROOT, matchers=matchers("a=b"))], "routes[0].matchers"),
        ([replace(ROOT, escalation_policy="p")], "routes[0].channels"),
        ([ROOT, Route(id="a")], "routes[1].parent"),
        ([ROOT, Route(id="a", parent="b"), Route(id="b", parent="root")], "routes[1].parent"),
        ([ROOT, Route(id="root", parent="root")], "routes[1].id"),
        ([replace(ROOT, group_by=("...", "a"))], "routes[0].group_by"),
        ([ROOT, Route(id="a", parent="root", matchers=matchers("a=~("))], "routes[1].matchers"),
    ],
)
def test_what_is_no_tree_is_refused(routes: Sequence[Route], field: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        RoutingTree(routes=tuple(routes)).check()
    assert raised.value.violations[0].field.startswith(f"routing_tree.{field}")


def test_what_explains_others_inhibits_them() -> None:
    rule = InhibitionRule(
        source_matchers=matchers("severity=critical"),
        target_matchers=matchers("severity=~critical|warning"),
        equal=("node",),
    )
    firing = {
        "b1": {"severity": "critical", "node": "n1"},
        "b2": {"severity": "warning", "node": "n1"},
        "b3": {"severity": "warning", "node": "n2"},
        "b4": {"severity": "info", "node": "n1"},
    }
    found = {name: Inhibitors([rule], firing).inhibitor_of(each) for name, each in firing.items()}
    # The first matches both sides: it is not inhibited by such ones, itself among them.
    assert found == {"b1": None, "b2": "b1", "b3": None, "b4": None}
    with pytest.raises(InvalidArgument, match="target_matchers"):
        RoutingTree(inhibition_rules=(replace(rule, target_matchers=matchers("a=~(")),)).check()


def test_a_silence_begins_and_ends() -> None:
    silence = Silence(matchers=matchers("a=x"), start_time=NOW, end_time=NOW + HOUR)
    silence.check()
    states = [silence.state(NOW + minutes * MINUTE) for minutes in (-1, 0, 59, 60)]
    assert states == [
        SilenceState.PENDING,
        SilenceState.ACTIVE,
        SilenceState.ACTIVE,
        SilenceState.EXPIRED,
    ]
    for wrong in (
        replace(silence, matchers=matchers("a=", "b=~.*")),
        replace(silence, end_time=NOW),
        replace(silence, matchers=matchers("a=~(")),
    ):
        with pytest.raises(InvalidArgument):
            wrong.check()


def test_why_nobody_is_told_is_said() -> None:
    silences = {
        "s1": Silence(matchers=matchers("a=x"), start_time=NOW, end_time=NOW + HOUR),
        "s2": Silence(matchers=matchers("a=y"), start_time=NOW + HOUR, end_time=NOW + 2 * HOUR),
    }
    noon = read_cron("0 12 * * *", "UTC")
    windows = {"w": MaintenanceWindow(schedule=noon, duration=HOUR, matchers=matchers("b=x"))}
    rule = InhibitionRule(source_matchers=matchers("c=x"), target_matchers=matchers("c=y"))
    inhibitors = Inhibitors([rule], {"b1": {"c": "x"}})

    def reason(now: datetime, *, snoozed: bool = False, **labels: str) -> str:
        return Mutes(silences, windows, inhibitors, now).reason(labels, snoozed=snoozed)

    assert reason(NOW, a="x", b="x") == "silenced by silences/s1"
    assert reason(NOW, a="y", b="x") == "in maintenance by maintenanceWindows/w"
    assert reason(NOW, c="y") == "inhibited by alerts/b1"
    assert reason(NOW, a="y", snoozed=True) == "snoozed"
    assert Withheld.kind_of(reason(NOW, a="y", b="x")) is Withheld.MAINTENANCE
    assert reason(NOW, a="y") == reason(NOW + HOUR, a="x", b="x") == ""


def test_maintenance_lasts_as_long_through_a_change_of_clocks() -> None:
    """In Berlin, on 29 March 2026, 2:00 does not come; on 25 October it comes twice."""
    window = MaintenanceWindow(
        schedule=read_cron("30 1 * * *", "Europe/Berlin"),
        duration=2 * HOUR,
    )
    for begin in (
        datetime(2026, 3, 29, 0, 30, tzinfo=UTC),  # 1:30 to 4:30 on the wall
        datetime(2026, 10, 24, 23, 30, tzinfo=UTC),  # 1:30 to 2:30, the second one
        datetime(2026, 6, 1, 23, 30, tzinfo=UTC),
    ):
        moments = (begin - MINUTE, begin, begin + 2 * HOUR - MINUTE, begin + 2 * HOUR)
        assert [window.active(moment) for moment in moments] == [False, True, True, False]
    missing = replace(window, schedule=read_cron("15 2 * * *", "Europe/Berlin"))
    assert missing.active(datetime(2026, 3, 29, 1, 0, tzinfo=UTC))  # 3:00, when the gap ends
    with pytest.raises(InvalidArgument):
        replace(window, matchers=matchers("a=~(")).check()


VALUES = st.sampled_from(["", "x", "y", "xy"])
LABELS = st.dictionaries(st.sampled_from("abc"), VALUES.filter(bool))
MATCHERS = st.lists(
    st.builds(
        Matcher,
        label=st.sampled_from("abc"),
        operator=st.sampled_from(Operator),
        value=st.sampled_from(["", "x", "y", "x|y", "x.*"]),
    ),
    max_size=2,
).map(tuple)


@st.composite
def trees(draw: st.DrawFn) -> RoutingTree:
    routes = [ROOT]
    for number in range(draw(st.integers(0, 6))):
        routes.append(
            Route(
                id=f"r{number}",
                parent=draw(st.sampled_from([each.id for each in routes])),
                matchers=draw(MATCHERS),
                continue_matching=draw(st.booleans()),
            )
        )
    return RoutingTree(routes=tuple(routes))


@given(tree=trees(), labels=LABELS)
def test_an_alert_always_goes_somewhere_by_matching_all_the_way(
    tree: RoutingTree, labels: Mapping[str, str]
) -> None:
    tree.check()
    routes = {route.id: route for route in tree.routes}
    found = Routing(tree).find(labels)
    assert found
    assert len({each.route for each in found}) == len(found)
    for each in found:
        place = routes[each.route]
        while place.parent:
            assert match_all(place.matchers, labels)
            place = routes[place.parent]
