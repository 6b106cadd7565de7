"""What callers tell adds up, weighs less with time, and follows a peak at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_discovery.domain.outcome import HALF_LIFE, Observation, Outcome, Sums

REPORTS = st.builds(
    Outcome,
    capability=st.just("a"),
    successes=st.integers(0, 50),
    failures=st.integers(1, 50),
    latency=st.none() | st.timedeltas(timedelta(0), timedelta(seconds=60)),
    quality=st.none() | st.floats(0, 1),
)


def told(
    held: Sums | None = None,
    *,
    successes: int = 10,
    failures: int = 0,
    seconds: float | None = None,
    quality: float | None = None,
) -> Sums:
    outcome = Outcome(
        capability="a",
        successes=successes,
        failures=failures,
        latency=None if seconds is None else timedelta(seconds=seconds),
        quality=quality,
    )
    held = held or Sums()
    return held.plus(held.of(outcome))


def test_a_first_report_is_what_is_known() -> None:
    assert told(successes=3, failures=1, seconds=2, quality=0.5).observation() == Observation(
        calls=4, success_rate=0.75, latency=timedelta(seconds=2), quality=0.5
    )


def test_what_nobody_tells_is_taken_for_good() -> None:
    assert told().observation() == Observation(
        calls=10, success_rate=1, latency=timedelta(0), quality=1
    )


def test_experience_loses_half_its_weight_but_not_its_meaning() -> None:
    held = told(successes=8, failures=2, seconds=1, quality=0.5)
    later = held.decayed(2 * HALF_LIFE).observation()
    assert later.calls == pytest.approx(2.5)
    assert later.success_rate == pytest.approx(0.8)
    assert later.latency == timedelta(seconds=1)
    assert later.quality == pytest.approx(0.5)
    assert held.decayed(-HALF_LIFE) == held


def test_a_peak_is_seen_at_once_and_left_slowly() -> None:
    steady = told(seconds=1)
    slower = told(steady, seconds=10).observation().latency
    assert slower > timedelta(seconds=8)
    back = told(told(steady, seconds=10), seconds=1).observation().latency
    assert timedelta(seconds=5) < back < slower


def test_who_does_not_judge_changes_no_judgement() -> None:
    held = told(seconds=3, quality=0.2)
    after = told(held, successes=90).observation()
    assert after.quality == pytest.approx(0.2)
    assert after.latency == timedelta(seconds=3)


@pytest.mark.parametrize(
    ("successes", "failures", "failing"),
    [(4, 0, 0), (0, 4, 0), (0, 5, 2), (9, 1, 0), (8, 2, 1), (5, 5, 1), (4, 6, 2)],
)
def test_failing_has_coarse_steps_and_needs_some_calls(
    successes: int, failures: int, failing: int
) -> None:
    assert told(successes=successes, failures=failures).observation().failing == failing


@given(reports=st.lists(REPORTS, min_size=1, max_size=20), ages=st.lists(st.integers(0, 300)))
def test_means_stay_within_what_was_told(reports: list[Outcome], ages: list[int]) -> None:
    sums = Sums()
    for at, report in enumerate(reports):
        if at < len(ages):
            sums = sums.decayed(timedelta(seconds=ages[at]))
        sums = sums.plus(sums.of(report))
    seen = sums.observation()
    slowest = max((item.latency for item in reports if item.latency), default=timedelta(0))
    assert 0 <= seen.success_rate <= 1.000001
    assert -0.000001 <= seen.quality <= 1.000001
    assert timedelta(0) <= seen.latency <= slowest + timedelta(milliseconds=1)


@given(here=st.lists(REPORTS, max_size=8), there=st.lists(REPORTS, max_size=8))
def test_replicas_add_up_in_either_order(here: list[Outcome], there: list[Outcome]) -> None:
    def sums(reports: list[Outcome]) -> Sums:
        total = Sums()
        for report in reports:
            total = total.plus(total.of(report))
        return total

    together, other_way = sums(here).plus(sums(there)), sums(there).plus(sums(here))
    assert together.calls == other_way.calls
    assert together.successes == other_way.successes
    assert together.latency == pytest.approx(other_way.latency)
