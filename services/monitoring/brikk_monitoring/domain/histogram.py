"""Latencies as a histogram with logarithmic bins: its sums give quantiles with a guaranteed error.

Bin `i` holds the values in (g^(i-1), g^i] milliseconds with g = (1 + a) / (1 - a), and answers
2 g^i / (g + 1), which is off by at most the share `a` of each of them (Masson, Rim and Lee,
"DDSketch", VLDB 2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

RELATIVE_ERROR: Final = 0.02
"""The share of the true value by which a quantile is off at most."""

SHORTEST_MS: Final = 0.01
LONGEST_MS: Final = 86_400_000.0
"""Between these, in milliseconds, durations are told apart; one outside counts as the nearer."""

_GROWTH: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH: Final = math.log(_GROWTH)


def clamp(duration_ms: float) -> float:
    """Bring a duration into the range."""
    return min(max(duration_ms, SHORTEST_MS), LONGEST_MS)


def bin_of(duration_ms: float) -> int:
    """Return the bin of a duration above 0."""
    return math.ceil(math.log(duration_ms) / _LOG_GROWTH)


def quantile(bins: Mapping[int, int], per_mille: int) -> float:
    """Return, in milliseconds, what so many of a thousand did not exceed; 0 when none was counted.

    By nearest rank, reckoned in whole numbers, so that no rounding of floats moves it.
    """
    rank = -(-sum(bins.values()) * per_mille // 1000)
    seen = 0
    for index in sorted(bins):
        seen += bins[index]
        if seen >= rank:
            return 2 * math.exp(index * _LOG_GROWTH) / (_GROWTH + 1)
    return 0.0
