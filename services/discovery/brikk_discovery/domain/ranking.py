"""Who is offered first: an agent's state, its rank among others with the same skill, and why."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from brikk_discovery.domain.agent import Load


class State(StrEnum):
    """Whether an agent may be given work; `brikk.discovery.v1.Agent.State` describes each."""

    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"
    SUSPECT = "suspect"


def state_of(load: Load, *, capacity: int, silent: bool) -> State:
    """Derive a state. Draining outlasts silence: work is never sent where none is wanted."""
    if load.draining:
        return State.DRAINING
    if silent:
        return State.SUSPECT
    if 0 < capacity <= load.in_flight:
        return State.BUSY
    return State.READY


class Rank(NamedTuple):
    """Place of an agent among those that offer a capability: the least is the best."""

    tier: int
    shortage: int
    """Calls in flight minus slots, so that the roomiest comes first."""
    in_flight: int
    agent_id: str
    """Last, so that no two ranks are equal."""

    @property
    def suspect(self) -> bool:
        """Whether it is offered only when nobody else is left."""
        return self.tier == _TIERS[State.SUSPECT]


_TIERS = {State.READY: 0, State.BUSY: 1, State.SUSPECT: 2}


def rank_of(agent_id: str, state: State, *, capacity: int, in_flight: int) -> Rank | None:
    """Give the rank, or None for an agent that is not offered at all.

    An agent that did not declare its capacity ranks as if it had one slot: it may take more, but
    those that promised room come first.
    """
    tier = _TIERS.get(state)
    if tier is None:
        return None
    return Rank(tier, in_flight - (capacity or 1), in_flight, agent_id)


def rank_reason(state: State, *, capacity: int, in_flight: int) -> str:
    """Say for people why an agent stands where it stands."""
    if capacity:
        room = f"{max(capacity - in_flight, 0)} of {capacity} slots free"
    else:
        room = f"{in_flight} in flight, capacity not declared"
    if state is State.SUSPECT:
        return f"suspect, used when nobody else is left: heartbeats are missing; {room}"
    return f"{state}: {room}"
