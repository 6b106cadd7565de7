"""Who is offered first: an agent's state, its rank among others with the same skill, and why."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from brikk_discovery.domain.agent import Agent, Doubt, OrderedState
from brikk_discovery.domain.outcome import Observation


class State(StrEnum):
    """Whether an agent may be given work; `brikk.discovery.v1.Agent.State` describes each."""

    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"
    SUSPECT = "suspect"
    MAINTENANCE = "maintenance"


def state_of(agent: Agent) -> State:
    """Derive a state. What people ordered outlasts what the agent says and what is thought of it:
    work is never sent where none is wanted.
    """
    load, order = agent.load, agent.order
    if order is not None and order.state is OrderedState.MAINTENANCE:
        return State.MAINTENANCE
    if order is not None or load.draining:
        return State.DRAINING
    if agent.doubt is not Doubt.NONE:
        return State.SUSPECT
    if not load.ready or 0 < agent.capacity <= load.in_flight:
        return State.BUSY
    return State.READY


def state_reason(agent: Agent, state: State) -> str:
    """Say for people why an agent is in a state; nothing when it is ready."""
    match state:
        case State.READY:
            return ""
        case State.BUSY:
            return _room(agent) if agent.load.ready else _NOT_READY
        case State.SUSPECT:
            return _DOUBTS[agent.doubt]
    order = agent.order
    if order is None:
        return "by its own wish"
    return f"ordered by {order.by}: {order.reason}" if order.reason else f"ordered by {order.by}"


class Rank(NamedTuple):
    """Place of an agent among those that offer a capability: the least is the best."""

    tier: int
    failing: int
    shortage: int
    """Calls in flight minus slots, so that the roomiest comes first."""
    in_flight: int
    agent_id: str
    capability: str
    """With the id the last, so that no two ranks are equal."""

    @property
    def suspect(self) -> bool:
        """Whether it is offered only when nobody else is left."""
        return self.tier == _TIERS[State.SUSPECT]


def rank_of(
    agent: Agent, state: State, capability: str, observation: Observation | None
) -> Rank | None:
    """Give the rank, or None for an agent that is not offered at all.

    An agent that did not declare its capacity ranks as if it had one slot: it may take more, but
    those that promised room come first.
    """
    tier = _TIERS.get(state)
    if tier is None:
        return None
    return Rank(
        tier,
        0 if observation is None else observation.failing,
        agent.load.in_flight - (agent.capacity or 1),
        agent.load.in_flight,
        agent.key.agent_id,
        capability,
    )


def rank_reason(agent: Agent, state: State, observation: Observation | None) -> str:
    """Say for people why an agent stands where it stands."""
    room = _room(agent) if agent.load.ready else _NOT_READY
    if observation is not None and observation.failing:
        room = f"{room}; {observation.success_rate:.0%} of calls succeeded lately"
    if state is State.SUSPECT:
        return f"suspect, used when nobody else is left: {_DOUBTS[agent.doubt]}; {room}"
    return f"{state}: {room}"


_TIERS: Final = {State.READY: 0, State.BUSY: 1, State.SUSPECT: 2}
_DOUBTS: Final = {
    Doubt.SILENT: "heartbeats are missing",
    Doubt.UNREACHABLE: "it does not answer at its endpoint",
    Doubt.FLAPPING: "it comes and goes",
}
_NOT_READY: Final = "not ready by its own word"


def _room(agent: Agent) -> str:
    capacity, in_flight = agent.capacity, agent.load.in_flight
    if capacity:
        return f"{max(capacity - in_flight, 0)} of {capacity} slots free"
    return f"{in_flight} in flight, capacity not declared"
