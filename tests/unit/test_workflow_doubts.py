"""An event that cannot be folded is found, and takes no other with it."""

from __future__ import annotations

from collections.abc import Set

from hypothesis import given
from hypothesis import strategies as st

from brikk_workflow.runtime.doubts import ATTEMPTS, Doubts


def fold(events: list[int], spoilt: Set[int], failures: int = 0) -> tuple[list[int], int]:
    """Folds as an execution does; gives what was folded, and how often it failed.

    The first attempts fail whatever they fold, as if the defect went away by itself.
    """
    doubts, left, folded, attempts = Doubts(), list(events), list[int](), 0
    while left:
        taken = doubts.take(left)
        left = left[len(taken) :]
        if attempts < failures or not spoilt.isdisjoint(taken):
            attempts += 1
            if not doubts.blame(taken):
                left[:0] = taken
        else:
            folded += taken
            doubts.settle(left=bool(left))
    return folded, attempts


def test_a_defect_that_goes_away_costs_nothing() -> None:
    assert fold([1, 2, 3], set(), failures=ATTEMPTS - 1) == ([1, 2, 3], ATTEMPTS - 1)


def test_what_is_alone_is_given_up_after_its_attempts() -> None:
    assert fold([1], {1}) == ([], ATTEMPTS)


def test_what_is_folded_together_is_told_apart() -> None:
    assert fold([1, 2, 3], {2}) == ([1, 3], 2 * ATTEMPTS)


def test_once_it_is_found_all_is_folded_together_again() -> None:
    doubts = Doubts()
    for _ in range(ATTEMPTS):
        assert not doubts.blame([1, 2])
    assert doubts.take([1, 2]) == [1]
    doubts.settle(left=True)
    assert doubts.take([2]) == [2]
    doubts.settle(left=False)
    assert doubts.take([3, 4]) == [3, 4]


@given(events=st.lists(st.integers(0, 9), max_size=8), spoilt=st.sets(st.integers(0, 9)))
def test_every_other_event_is_folded_in_order(events: list[int], spoilt: set[int]) -> None:
    folded, _ = fold(events, spoilt)
    assert folded == [each for each in events if each not in spoilt]
