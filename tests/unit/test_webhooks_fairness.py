"""How slots are dealt out to the endpoints that wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brikk_webhooks.domain.fairness import share


def test_everybody_gets_one_before_anybody_gets_two() -> None:
    assert share(4, ["a", "b", "c"], {}, most=10) == {"a": 2, "b": 1, "c": 1}


def test_the_longest_waiting_come_first() -> None:
    assert share(2, ["c", "b", "a"], {}, most=10) == {"c": 1, "b": 1}


def test_what_is_under_way_counts() -> None:
    assert share(10, ["hangs", "works"], {"hangs": 3}, most=3) == {"works": 3}
    assert share(10, ["hangs"], {"hangs": 5}, most=3) == {}


@given(
    slots=st.integers(0, 200),
    waiting=st.lists(st.sampled_from("abcdefgh"), unique=True),
    busy=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 12)),
    most=st.integers(1, 10),
)
def test_shares(slots: int, waiting: list[str], busy: dict[str, int], most: int) -> None:
    shares = share(slots, waiting, busy, most=most)
    room = {endpoint: max(0, most - busy.get(endpoint, 0)) for endpoint in waiting}
    assert sum(shares.values()) == min(slots, sum(room.values()))
    assert all(0 < given <= room[endpoint] for endpoint, given in shares.items())
    for endpoint in waiting:
        if shares.get(endpoint, 0) < room[endpoint]:  # it could have used more
            assert all(got <= shares.get(endpoint, 0) + 1 for got in shares.values())
