"""When the condition of a rule holds: bounds and recovery, change, absence, burn rates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_monitoring.domain.condition import Finding, Part, find, windows
from brikk_monitoring.domain.measurement import Status, Sums
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
    Side,
    Threshold,
)
from brikk_monitoring.domain.window import Resolution, Retention
from brikk_shared.errors import InvalidArgument

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HELD = Retention(minute=3 * HOUR, hour=7 * DAY, day=400 * DAY)


def rule(condition: Condition, no_data: NoData = NoData.KEEP, **inquiry: object) -> Definition:
    asked = Inquiry(metric="calls", **inquiry)  # type: ignore[arg-type]  # any of its fields
    return Definition(inquiry=asked, condition=condition, no_data=no_data)


def part(succeeded: int, failed: int = 0, *, reason: str = "", length: timedelta = MINUTE) -> Part:
    counts = {Status.SUCCEEDED.value: succeeded, Status.FAILED.value: failed}
    return Part(sums=Sums(counts=counts, errors={reason: failed}), length=length)


def holds(definition: Definition, *parts: Part, held: bool = False) -> bool | None:
    return find(definition, parts, held=held).holds


def test_a_threshold_is_recovered_from_further_back() -> None:
    above = rule(Threshold(side=Side.ABOVE, value=10, recovery=5))
    assert [holds(above, part(n)) for n in (11, 10, 6)] == [True, False, False]
    assert [holds(above, part(n), held=True) for n in (11, 6, 5)] == [True, True, False]
    below = rule(Threshold(side=Side.BELOW, value=0.9), aggregation=Aggregation.SUCCESS_RATIO)
    assert find(below, [part(8, 2)], held=False) == Finding(value=0.8, holds=True)
    with pytest.raises(InvalidArgument, match="recovery"):
        rule(Threshold(side=Side.ABOVE, value=10, recovery=11)).check()
    with pytest.raises(InvalidArgument, match="not counted by"):
        rule(Absence(), group_by=("workflow",)).check()
    with pytest.raises(InvalidArgument, match="labels"):
        Definition(inquiry=Inquiry(metric="calls"), condition=Absence(), labels={"a b": ""}).check()


def test_failures_are_counted_by_reason() -> None:
    bound = Threshold(side=Side.ABOVE, value=0)
    failing = part(5, 2, reason="NO_AGENT")
    assert find(rule(bound, error_reason="NO_AGENT"), [failing], held=False).value == 2
    assert find(rule(bound, error_reason="*"), [failing], held=False).value == 2
    assert holds(rule(bound, error_reason="STEP_TIMEOUT"), failing) is False


def test_change_is_a_share_of_what_was_before() -> None:
    more = rule(Change(side=Side.ABOVE, ratio=0.5))
    assert find(more, [part(16), part(10)], held=False) == Finding(value=0.6, holds=True)
    assert holds(more, part(15), part(10)) is False
    less = rule(Change(side=Side.BELOW, ratio=-0.5))
    assert holds(less, part(4), part(10))
    assert holds(more, part(5), part(0)) is None
    now, before = windows(more, NOW, NOW, HELD)
    assert len(now.buckets) == len(before.buckets) == 5
    assert now.end_time == NOW.replace(second=0)


@pytest.mark.parametrize(
    ("no_data", "expected"), [(NoData.OK, False), (NoData.ALERT, True), (NoData.KEEP, None)]
)
def test_nothing_observed_means_what_the_rule_says(no_data: NoData, expected: bool | None) -> None:
    nothing = Part(sums=Sums(), length=MINUTE)
    for condition in (Threshold(side=Side.ABOVE, value=1), Change(side=Side.ABOVE, ratio=1)):
        assert holds(rule(condition, no_data), nothing, nothing) is expected
    assert holds(rule(BurnRate(objective=0.9), no_data), *[nothing] * 7) is expected
    assert holds(rule(Absence(), no_data), nothing) is True
    assert holds(rule(Absence(), no_data), part(1)) is False


def test_a_budget_burns_when_both_windows_say_so() -> None:
    slo = rule(BurnRate(objective=0.99))
    lengths = [each.end_time - each.start_time for each in windows(slo, NOW, NOW, HELD)]
    assert lengths == sorted(lengths)
    minute, hour, day = Resolution.MINUTE, Resolution.HOUR, Resolution.DAY
    resolutions = [each.resolution for each in windows(slo, NOW, NOW, HELD)]
    assert resolutions == [minute, minute, minute, hour, hour, hour, day]
    # What is long ago is held in longer buckets only.
    assert windows(slo, NOW - 5 * HOUR, NOW, HELD)[0].resolution is hour
    brief = Retention(minute=HOUR / 2, hour=DAY, day=400 * DAY)
    assert [each.resolution for each in windows(slo, NOW, NOW, brief)] == [
        *(minute, minute, hour, hour, hour, hour, day)
    ]
    good, burning = part(100), part(80, 20)  # 20 times as fast as allowed
    # 5 m, 30 m, 1 h, 2 h, 6 h, 1 d, 3 d
    assert holds(slo, good, good, burning, good, good, good, good) is False
    found = find(slo, [burning, good, burning, good, good, good, good], held=False)
    assert found.holds
    assert found.value == pytest.approx(20)
    slow = part(98, 2)
    assert holds(slo, slow, slow, slow, slow, slow, slow, slow)  # by the 3 days
    assert holds(slo, slow, slow, slow, slow, good, slow, good) is False


@given(
    uid=st.text(alphabet="abcdef0123456789", min_size=1, max_size=32),
    interval=st.integers(10, 86400),
    at=st.integers(0, 10**15),
)
def test_a_rule_is_due_steadily(uid: str, interval: int, at: int) -> None:
    due = Rule(
        uid=uid,
        organization="acme",
        id="r",
        definition=Definition(
            inquiry=Inquiry(metric="calls"),
            condition=Absence(),
            interval=timedelta(seconds=interval),
        ),
        create_time=NOW,
        update_time=NOW,
    )
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=at % 10**13)
    first = due.due_after(moment)
    assert timedelta(0) < first - moment <= timedelta(seconds=interval)
    assert due.due_after(first) - first == timedelta(seconds=interval)


def test_a_thousand_rules_are_spread_over_their_interval() -> None:
    definition = Definition(inquiry=Inquiry(metric="calls"), condition=Absence())
    seconds = [0] * 60
    for number in range(1000):
        rule = Rule(
            uid=f"b{number:031x}",
            organization="acme",
            id="r",
            definition=definition,
            create_time=NOW,
            update_time=NOW,
        )
        seconds[int((rule.due_after(NOW) - NOW).total_seconds()) % 60] += 1
    assert max(seconds) < 60
    assert min(seconds) > 1
