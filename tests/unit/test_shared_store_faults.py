"""Fault points do nothing unless one is armed; what they do then is seen in processes that die."""

from __future__ import annotations

import pytest

from brikk_shared import faults


def test_points_that_are_not_armed_are_passed() -> None:
    for point in faults.POINTS:
        faults.reach(point)


def test_a_misspelt_point_is_refused_and_the_others_are_named() -> None:
    with pytest.raises(ValueError, match=r"outbox\.published"):
        faults.arm("outbox.publishd")
