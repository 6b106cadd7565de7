"""States, ranks and their reasons."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from brikk_discovery.domain.agent import (
    Agent,
    AgentKey,
    Definition,
    Doubt,
    Load,
    Order,
    OrderedState,
)
from brikk_discovery.domain.outcome import Observation
from brikk_discovery.domain.ranking import State, rank_of, rank_reason, state_of, state_reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DRAIN, MAINTAIN = (
    Order(state=state, reason="new disk", by="users/ann", time=NOW) for state in OrderedState
)


def agent(
    *,
    load: Load = Load(),  # noqa: B008 - it is frozen
    capacity: int = 0,
    doubt: Doubt = Doubt.NONE,
    order: Order | None = None,
) -> Agent:
    return Agent(
        key=AgentKey("acme", "one"),
        incarnation="one",
        epoch=1,
        revision=1,
        definition=Definition(endpoint="127.0.0.1:9000", labels={}, services=(), capacity=capacity),
        load=load,
        register_time=NOW,
        beat_time=NOW,
        expire_time=NOW,
        doubt=doubt,
        order=order,
    )


def seen(successes: int, calls: int = 100) -> Observation:
    return Observation(
        calls=calls, success_rate=successes / 100, latency=timedelta(seconds=1), quality=1
    )


@pytest.mark.parametrize(
    ("held", "state", "reason"),
    [
        (agent(), State.READY, ""),
        (agent(load=Load(in_flight=99)), State.READY, ""),
        (agent(load=Load(in_flight=1), capacity=2), State.READY, ""),
        (agent(load=Load(in_flight=2), capacity=2), State.BUSY, "0 of 2 slots free"),
        (agent(load=Load(in_flight=2, capacity=3), capacity=2), State.READY, ""),
        (agent(load=Load(in_flight=2, capacity=0), capacity=2), State.READY, ""),
        (agent(load=Load(ready=False)), State.BUSY, "not ready by its own word"),
        (
            agent(load=Load(ready=False), doubt=Doubt.SILENT),
            State.SUSPECT,
            "heartbeats are missing",
        ),
        (agent(doubt=Doubt.UNREACHABLE), State.SUSPECT, "it does not answer at its endpoint"),
        (agent(doubt=Doubt.FLAPPING), State.SUSPECT, "it comes and goes"),
        (agent(load=Load(draining=True), doubt=Doubt.SILENT), State.DRAINING, "by its own wish"),
        (agent(doubt=Doubt.SILENT, order=DRAIN), State.DRAINING, "ordered by users/ann: new disk"),
        (
            agent(load=Load(draining=True), order=MAINTAIN),
            State.MAINTENANCE,
            "ordered by users/ann: new disk",
        ),
        (agent(order=replace(DRAIN, reason="")), State.DRAINING, "ordered by users/ann"),
    ],
)
def test_states_have_a_precedence_and_a_reason(held: Agent, state: State, reason: str) -> None:
    assert state_of(held) is state
    assert state_reason(held, state) == reason


@pytest.mark.parametrize(
    ("held", "observation", "reason"),
    [
        (agent(load=Load(in_flight=3), capacity=8), None, "ready: 5 of 8 slots free"),
        (agent(load=Load(in_flight=9), capacity=8), None, "busy: 0 of 8 slots free"),
        (agent(load=Load(in_flight=3)), seen(100), "ready: 3 in flight, capacity not declared"),
        (agent(load=Load(ready=False), capacity=8), None, "busy: not ready by its own word"),
        (
            agent(capacity=1),
            seen(62),
            "ready: 1 of 1 slots free; 62% of calls succeeded lately",
        ),
        (
            agent(capacity=2, doubt=Doubt.SILENT),
            None,
            "suspect, used when nobody else is left: heartbeats are missing; 2 of 2 slots free",
        ),
    ],
)
def test_ranks_are_explained_in_words(
    held: Agent, observation: Observation | None, reason: str
) -> None:
    assert rank_reason(held, state_of(held), observation) == reason


def test_state_comes_before_success_and_success_before_room() -> None:
    roomy, full = agent(capacity=9), agent(load=Load(in_flight=9), capacity=9)
    ordered = [
        (agent(capacity=2), None),
        (roomy, seen(80)),
        (roomy, seen(10)),
        (full, None),
        (full, seen(10)),
        (agent(capacity=9, doubt=Doubt.UNREACHABLE), None),
    ]
    ranks = [rank_of(held, state_of(held), "a", observed) for held, observed in ordered]
    assert None not in ranks
    assert ranks == sorted(rank for rank in ranks if rank is not None)
    assert [rank.suspect for rank in ranks if rank is not None] == [False] * 5 + [True]


@pytest.mark.parametrize("order", [DRAIN, MAINTAIN])
def test_who_is_taken_out_has_no_rank(order: Order) -> None:
    held = agent(order=order)
    assert rank_of(held, state_of(held), "a", None) is None
