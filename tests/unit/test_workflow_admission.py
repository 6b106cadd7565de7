"""Places go to the highest priority, then the oldest, within every limit; room goes in turns."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from brikk_workflow.domain.admission import Waiting, admitted, permit, rank, turns

LIMITS = {"free": None, "one": 1, "three": 3}


def waiting(
    number: int, *, workflow: str = "free", priority: int = 5, limit: int | None = None
) -> Waiting:
    return Waiting(
        execution_id=f"b{number:03}",
        workflow_id=workflow,
        rank=rank(priority),
        concurrency=limit,
    )


QUEUES = st.lists(st.tuples(st.sampled_from(sorted(LIMITS)), st.integers(0, 9)), max_size=30).map(
    lambda drawn: [
        waiting(number, workflow=workflow, priority=priority, limit=LIMITS[workflow])
        for number, (workflow, priority) in enumerate(drawn)
    ]
)
RUNNING = st.fixed_dictionaries({"one": st.integers(0, 2), "three": st.integers(0, 4)})


def test_higher_priorities_come_first_and_the_older_among_equals() -> None:
    queue = [waiting(1), waiting(2, priority=9), waiting(3, priority=0), waiting(4, priority=9)]
    assert admitted(queue, {}, 3) == ("b002", "b004", "b001")


def test_a_full_workflow_keeps_nobody_else_waiting() -> None:
    queue = [
        waiting(1, workflow="one", priority=9, limit=1),
        waiting(2, workflow="one", priority=9, limit=1),
        waiting(3, priority=0),
    ]
    assert admitted(queue, {}, 9) == ("b001", "b003")
    assert admitted(queue, {"one": 1}, 9) == ("b003",)


@given(QUEUES, RUNNING, st.integers(0, 12))
def test_no_limit_is_exceeded_and_no_place_is_left_empty(
    queue: list[Waiting], running: dict[str, int], places: int
) -> None:
    chosen = admitted(queue, running, places)
    by_id = {each.execution_id: each for each in queue}
    assert len(chosen) == len(set(chosen)) <= places
    began = Counter(by_id[each].workflow_id for each in chosen)
    for workflow, count in began.items():
        limit = LIMITS[workflow]
        assert limit is None or running[workflow] + count <= limit
    for each in by_id.keys() - set(chosen):
        left = by_id[each]
        full = left.concurrency is not None and (
            running[left.workflow_id] + began[left.workflow_id] >= left.concurrency
        )
        assert full or len(chosen) == places
        # Nobody of the same workflow overtook it.
        assert all(
            (by_id[other].rank, other) < (left.rank, each)
            for other in chosen
            if by_id[other].workflow_id == left.workflow_id
        )


@given(st.integers(-5, 1000), st.lists(st.integers(1, 50), max_size=30))
def test_permits_never_add_up_to_more_than_is_free(free: int, wanted: list[int]) -> None:
    left = free
    for each in wanted:
        places = permit(left, each)
        assert places >= min(max(left, 0), 1)
        left -= places
    assert left >= min(free, 0)


@given(
    st.lists(st.text("abc", min_size=1, max_size=3), unique=True, min_size=1, max_size=12),
    st.integers(1, 20),
)
def test_each_organization_has_its_turn(organizations: list[str], room: int) -> None:
    last, served = "", Counter[str]()
    for _ in range(len(organizations)):
        for organization, share in turns(organizations, room, last):
            assert 1 <= share <= room
            served[organization] += share
            last = organization
    assert served.keys() == set(organizations)
    assert max(served.values()) <= 2 * min(served.values()) + room


def test_without_room_nobody_has_a_turn() -> None:
    assert not list(turns(["a", "b"], 0, ""))
