"""Requests to publish that are put together from serialised events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishRequest
from brikk_shared.outbox_shard import SHARDS, shard_of
from brikk_shared.publishing import serialized_request
from support.inbox import event

POSITIONS = st.sampled_from([1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 2**63 - 1])
LENGTHS = st.sampled_from([0, 1, 20, 100, 127, 128, 16_000, 16_384, 70_000])


@given(
    st.lists(st.tuples(st.integers(1, 2**63 - 1) | POSITIONS, LENGTHS | st.integers(0, 400))),
    st.integers(0, SHARDS),
)
def test_a_request_equals_the_one_of_parsed_events(
    items: list[tuple[int, int]], shard: int
) -> None:
    expected = PublishRequest(producer="workflow", generation="g" * 36, shard=shard)
    header = expected.SerializeToString()
    events = [(position, event(7, text="x" * length)) for position, length in items]
    for position, each in events:
        expected.items.add(position=position, event=each)
    serialized = serialized_request(
        PublishRequest.FromString(header),
        [(position, each.SerializeToString()) for position, each in events],
    )
    assert PublishRequest.FromString(serialized) == expected
    assert serialized == expected.SerializeToString()


def test_an_empty_event_is_an_event() -> None:
    request = PublishRequest.FromString(serialized_request(PublishRequest(), [(1, b"")]))
    assert request.items[0].event == Event()
    assert request.items[0].HasField("event")


def test_the_shard_of_a_subject_never_changes() -> None:
    # Rows lie under it: another hash, and events of a subject would overtake one another.
    subjects = ("executions/x", "executions/é", "agents/a", "")
    assert [shard_of(subject) for subject in subjects] == [13, 8, 4, 1]


def test_subjects_are_spread_over_all_shards() -> None:
    shards = [shard_of(f"executions/{number}") for number in range(1600)]
    assert set(shards) == set(range(1, SHARDS + 1))
    assert max(map(shards.count, range(1, SHARDS + 1))) < 200
