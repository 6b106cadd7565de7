"""The bins keep their promise: every quantile is within the stated error of the exact one."""

from __future__ import annotations

from collections import Counter

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk_monitoring.domain.histogram import (
    LONGEST_MS,
    RELATIVE_ERROR,
    SHORTEST_MS,
    bin_of,
    clamp,
    quantile,
)

PER_MILLE = (1, 500, 950, 990, 999, 1000)
ROUNDING = 1e-9

durations = st.one_of(
    st.floats(SHORTEST_MS, LONGEST_MS),
    st.floats(0.5, 20),
    st.sampled_from([SHORTEST_MS, 1.0, 1.04, 1000.0, LONGEST_MS]),
)


def exact(values: list[float], per_mille: int) -> float:
    """The smallest value that at least this share of the values do not exceed."""
    for value in sorted(values):
        if sum(other <= value for other in values) * 1000 >= len(values) * per_mille:
            return value
    raise AssertionError("no such value")


@given(st.lists(durations, min_size=1, max_size=60))
def test_quantiles_are_within_the_stated_error(values: list[float]) -> None:
    bins = Counter(map(bin_of, values))
    for per_mille in PER_MILLE:
        true = exact(values, per_mille)
        assert abs(quantile(bins, per_mille) - true) <= (RELATIVE_ERROR + ROUNDING) * true


@given(st.lists(durations, max_size=30), st.lists(durations, max_size=30))
def test_merged_histograms_are_the_histogram_of_all(some: list[float], more: list[float]) -> None:
    assert Counter(map(bin_of, some)) + Counter(map(bin_of, more)) == Counter(
        map(bin_of, some + more)
    )


@given(st.floats(0, allow_nan=False, allow_infinity=False))
def test_what_lies_outside_the_range_counts_as_its_nearer_end(duration: float) -> None:
    clamped = clamp(duration)
    assert SHORTEST_MS <= clamped <= LONGEST_MS
    assert clamped == duration or duration < SHORTEST_MS or duration > LONGEST_MS


@pytest.mark.parametrize("shape", ["lognormal", "two modes", "heavy tail", "uniform"])
def test_quantiles_of_many_agree_with_numpy(shape: str) -> None:
    random = numpy.random.default_rng(7)
    count = 20_000
    values = {
        "lognormal": random.lognormal(4, 1.5, count),
        "two modes": numpy.concatenate(
            [random.normal(10, 1, count // 2), random.normal(900, 30, count // 2)]
        ),
        "heavy tail": (random.pareto(1.2, count) + 1) * 5,
        "uniform": random.uniform(1, 1000, count),
    }[shape].clip(SHORTEST_MS, LONGEST_MS)
    bins = Counter(map(bin_of, values.tolist()))
    for per_mille in PER_MILLE:
        exact = numpy.quantile(values, per_mille / 1000, method="inverted_cdf")
        assert abs(quantile(bins, per_mille) - exact) <= (RELATIVE_ERROR + ROUNDING) * exact


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile({}, 500) == 0


@pytest.mark.parametrize(
    ("count", "per_mille", "rank"),
    [(1, 500, 1), (2, 500, 1), (3, 500, 2), (20, 950, 19), (100, 990, 99), (101, 990, 100)],
)
def test_the_rank_is_the_nearest_one_above(count: int, per_mille: int, rank: int) -> None:
    bins = {bin_of(1): rank - 1, bin_of(10): 1, bin_of(100): count - rank}
    assert quantile(bins, per_mille) == pytest.approx(10, rel=RELATIVE_ERROR)


def test_few_bins_span_a_day() -> None:
    assert bin_of(LONGEST_MS) - bin_of(SHORTEST_MS) < 600
