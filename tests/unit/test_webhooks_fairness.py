"""How slots are dealt out to the endpoints that wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brikk_webhooks.domain.fairness import share


def test_everybody_gets_one_before_anybody_gets_two() -> None:
    assert share(4, {"a": 10, "b": 10, "c": 10}) == {"a": 2, "b": 1, "c": 1}


def test_the_longest_waiting_come_first() -> None:
    assert share(2, {"c": 10, "b": 10, "a": 10}) == {"c": 1, "b": 1}


def test_what_has_no_room_gets_nothing() -> None:
    assert share(10, {"hangs": 0, "works": 3}) == {"works": 3}
    assert share(10, {"hangs": -2}) == {}


@given(
    slots=st.integers(0, 200),
    room=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(-2, 12)),
)
def test_shares(slots: int, room: dict[str, int]) -> None:
    shares = share(slots, room)
    assert sum(shares.values()) == min(slots, sum(max(0, each) for each in room.values()))
    assert all(0 < given <= room[endpoint] for endpoint, given in shares.items())
    for endpoint in room:
        if shares.get(endpoint, 0) < room[endpoint]:  # it could have used more
            assert all(got <= shares.get(endpoint, 0) + 1 for got in shares.values())
