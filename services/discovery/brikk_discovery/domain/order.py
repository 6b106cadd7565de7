"""What operators order of agents, against the agents' own word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from brikk_discovery.domain.agent import Agent, AgentKey, Order, OrderedState
from brikk_shared.errors import not_found


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """An operator's wish concerning one agent."""

    key: AgentKey
    state: OrderedState | None
    """None resumes it: from then on its own word counts."""
    reason: str
    by: str


def obey(held: Agent | None, command: Command, *, revision: int, now: datetime) -> Agent:
    """Give the agent as it stands after a command; one that says nothing new changes nothing.

    Raises:
        NotFound: RESOURCE_NOT_FOUND, the agent is not live.
    """
    if held is None:
        raise not_found(command.key.name)
    if command.state is None:
        return held if held.order is None else replace(held, revision=revision, order=None)
    order = held.order
    if order is not None and (order.state, order.reason) == (command.state, command.reason):
        return held
    order = Order(state=command.state, reason=command.reason, by=command.by, time=now)
    return replace(held, revision=revision, order=order)
