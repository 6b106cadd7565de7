"""What the channels of a group are told when its time has come, and who after them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_monitoring.domain.escalation import EscalationPolicy, Hours, Level
from brikk_monitoring.domain.grouping import (
    Group,
    Member,
    Notice,
    Terms,
    flush,
)
from brikk_monitoring.domain.muting import Withheld
from brikk_monitoring.domain.route import Destination
from brikk_shared.errors import InvalidArgument

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
INTERVAL, REPEAT = 5 * MINUTE, 4 * HOUR


class Course:
    """A group whose time comes again and again."""

    def __init__(
        self,
        *,
        policy: EscalationPolicy | None = None,
        now: datetime = NOW,
    ) -> None:
        channels = () if policy else ("ops",)
        self.terms = Terms(
            destination=Destination(
                route="root", channels=channels, group_interval=INTERVAL, repeat_interval=REPEAT
            ),
            policy=policy,
        )
        self.now = now
        self.group: Group | None = Group(
            uid="g", organization="acme", route="root", labels={}, due_at=now
        )

    def at(self, minutes: float, *members: Member) -> Sequence[Notice]:
        self.now = NOW + minutes * MINUTE
        assert self.group is not None
        flushed = flush(self.group, self.terms, members, self.now)
        self.group = flushed.group
        assert self.group is None or self.group.due_at > self.now
        return flushed.notices

    @property
    def due(self) -> float:
        assert self.group is not None
        return (self.group.due_at - NOW) / MINUTE


def fires(name: str = "a", *, muted: str = "") -> Member:
    return Member(alert_id=name, fires=True, muted=muted)


def answered(name: str = "a", minutes: float = 0) -> Member:
    at = NOW + minutes * MINUTE
    return Member(alert_id=name, fires=True, answered=True, acknowledged_at=at)


def over(name: str = "a", *, muted: str = "") -> Member:
    return Member(alert_id=name, fires=False, muted=muted)


def told(
    *firing: str, resolved: Sequence[str] = (), channel: str = "ops", level: int = 0
) -> Notice:
    return Notice(channel=channel, level=level, firing=firing, resolved=tuple(resolved))


def test_what_is_new_is_told_once_what_goes_on_is_repeated_and_the_end_is_told() -> None:
    course = Course()
    assert course.at(0, fires()) == [told("a")]
    assert course.due == 5
    assert course.at(5, fires()) == []
    assert course.at(10, fires(), fires("b")) == [told("a", "b")]
    assert course.at(15, over(), fires("b")) == [told("b", resolved=["a"])]
    assert course.at(20, fires("b")) == []
    assert course.at(255, fires("b")) == [told("b")]
    assert course.at(260, over("b")) == [told(resolved=["b"])]
    assert course.group is None


def test_what_fires_and_is_resolved_meanwhile_is_never_told() -> None:
    course = Course()
    assert course.at(0, over()) == []
    assert course.group is None
    course = Course()
    course.at(0, fires())
    assert course.at(5, fires(), over("b")) == []


def test_what_is_withheld_is_noted_once_and_told_later() -> None:
    course = Course()
    silenced = fires(muted="silenced")
    assert course.at(0, silenced) == [Notice(channel="", firing=("a",), reason="silenced")]
    assert course.at(5, silenced) == []
    assert course.at(10, fires(muted="inhibited"))[0].reason == "inhibited"
    assert course.at(15, fires()) == [told("a")]
    # Silenced after it was told, it is not resolved; its end is told when the silence is over.
    assert course.at(20, silenced)[0].reason == "silenced"
    assert course.at(25, silenced, fires("b")) == [told("b")]
    assert course.at(30, fires(), fires("b")) == []
    assert course.at(35, over(muted="silenced"), over("b")) == [told(resolved=["b"])]
    assert course.at(40, over()) == [told(resolved=["a"])]
    assert course.group is None


def test_nobody_is_told_again_of_what_somebody_looks_after() -> None:
    course = Course()
    course.at(0, fires())
    assert course.at(300, answered()) == []
    assert course.at(305, answered(), fires("b")) == [told("a", "b")]


POLICY = EscalationPolicy(
    levels=(
        Level(channels=("ops",), timeout=10 * MINUTE),
        Level(channels=("boss",), timeout=20 * MINUTE),
    ),
    loops=1,
    acknowledge_timeout=HOUR,
)


def test_levels_are_told_one_after_the_other_and_again() -> None:
    course = Course(policy=POLICY)
    assert course.at(0, fires()) == [told("a", level=1)]
    assert course.at(5, fires()) == []
    assert course.due == 10
    assert course.at(10, fires()) == [told("a", channel="boss", level=2)]
    assert course.at(15, fires()) == []
    assert course.at(30, fires()) == [told("a", level=1)]
    assert course.at(40, fires()) == [told("a", channel="boss", level=2)]
    assert course.at(100, fires()) == []
    everybody = [told(channel="boss", level=2, resolved=["a"]), told(level=1, resolved=["a"])]
    assert course.at(105, over()) == everybody
    assert course.group is None


def test_an_acknowledgement_ends_it_and_its_own_end_begins_it_anew() -> None:
    course = Course(policy=POLICY)
    course.at(0, fires())
    assert course.at(5, answered(minutes=5)) == []
    assert course.at(62, answered(minutes=5)) == []
    assert course.due == 65  # when it is looked at again
    assert course.at(65, fires()) == [told("a", level=1)]
    assert course.at(75, fires()) == [told("a", channel="boss", level=2)]


def test_it_waits_while_all_is_silenced() -> None:
    course = Course(policy=POLICY)
    course.at(0, fires())
    assert course.at(10, fires(muted="silenced")) == [
        Notice(channel="", firing=("a",), reason="silenced")
    ]
    assert course.due == 15
    assert course.at(15, fires()) == [told("a", channel="boss", level=2)]
    silenced = Course(policy=POLICY)
    silenced.at(0, fires(muted="silenced"))
    assert silenced.at(5, fires()) == [told("a", level=1)]


def test_it_goes_by_the_levels_that_there_were_when_it_began() -> None:
    course = Course(policy=POLICY)
    course.at(0, fires())
    edited = replace(POLICY, levels=(Level(channels=("other",), timeout=MINUTE),))
    course.terms = replace(course.terms, policy=edited)
    assert course.at(10, fires()) == [told("a", channel="boss", level=2)]
    # What begins later goes by the new ones.
    course.at(15, answered(minutes=15))
    assert [each.channel for each in course.at(20, answered(minutes=15), fires("b"))] == ["other"]


OFFICE = Hours(days=frozenset({1, 2, 3, 4, 5}), begin_minute=9 * 60, end_minute=17 * 60)


def test_outside_the_hours_all_waits_until_they_begin() -> None:
    course = Course(policy=replace(POLICY, hours=OFFICE))
    course.at(0, fires())
    evening = 5 * 60
    assert course.at(evening, fires(), fires("b")) == [
        Notice(channel="", firing=("a", "b"), reason=Withheld.OUTSIDE_HOURS)
    ]
    assert course.due == 21 * 60
    assert course.at(21 * 60, fires("b"), over()) == [
        told("b", channel="boss", level=2),
        told("b", level=1, resolved=["a"]),
    ]
    quiet = Course(policy=replace(POLICY, hours=OFFICE))
    assert quiet.at(evening, over()) == []
    assert quiet.group is None


@pytest.mark.parametrize(
    ("hours", "moment", "begin"),
    [
        (
            OFFICE,
            datetime(2026, 3, 6, 16, 59, tzinfo=UTC),
            datetime(2026, 3, 6, 16, 59, tzinfo=UTC),
        ),
        (OFFICE, datetime(2026, 3, 6, 17, tzinfo=UTC), datetime(2026, 3, 9, 9, tzinfo=UTC)),
        # Nights of Fridays in Berlin; on this one the clocks have changed at the next begin.
        (
            Hours(
                days=frozenset({5}), begin_minute=22 * 60, end_minute=6 * 60, zone="Europe/Berlin"
            ),
            datetime(2026, 3, 28, 4, 59, tzinfo=UTC),
            datetime(2026, 3, 28, 4, 59, tzinfo=UTC),
        ),
        (
            Hours(
                days=frozenset({5}), begin_minute=22 * 60, end_minute=6 * 60, zone="Europe/Berlin"
            ),
            datetime(2026, 3, 28, 5, tzinfo=UTC),
            datetime(2026, 4, 3, 20, tzinfo=UTC),
        ),
        (Hours(), datetime(2026, 3, 28, 5, tzinfo=UTC), datetime(2026, 3, 28, 5, tzinfo=UTC)),
        (
            Hours(begin_minute=60, end_minute=1440),
            datetime(2026, 3, 28, 0, 30, tzinfo=UTC),
            datetime(2026, 3, 28, 1, tzinfo=UTC),
        ),
    ],
)
def test_hours_are_those_on_the_wall(hours: Hours, moment: datetime, begin: datetime) -> None:
    assert hours.next_begin(moment) == begin
    assert hours.contain(moment) is (moment == begin)
    assert hours.contain(begin)


def test_hours_of_an_unknown_zone_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="time_zone"):
        replace(POLICY, hours=replace(OFFICE, zone="Mars")).check()
    replace(POLICY, hours=OFFICE).check()


STATES = st.lists(
    st.tuples(*[st.sampled_from(["fires", "answered", "silenced", "over"])] * 2), max_size=25
)
MAKE: Mapping[str, Callable[[str], Member]] = {
    "fires": fires,
    "answered": answered,
    "silenced": lambda name: fires(name, muted="silenced"),
    "over": over,
}


@given(states=STATES, escalates=st.booleans())
def test_an_end_is_told_only_of_what_was_told_and_to_all_who_were(
    states: list[tuple[str, str]], escalates: bool
) -> None:
    course = Course(policy=POLICY if escalates else None)
    known: dict[str, set[str]] = {}
    for place, each in enumerate([*states, ("over", "over")]):
        if course.group is None:
            course.group = Course().group
        members = [MAKE[state](name) for name, state in zip("ab", each, strict=True)]
        for notice in course.at(place * 7, *members):
            if not notice.channel:
                assert all(each["ab".index(name)] == "silenced" for name in notice.firing)
                continue
            heard = known.setdefault(notice.channel, set())
            assert set(notice.resolved) <= heard
            assert all(each["ab".index(name)] in ("fires", "answered") for name in notice.firing)
            heard -= set(notice.resolved)
            heard |= set(notice.firing)
    assert course.group is None
    assert not any(known.values())
