"""What happened to an agent, as the other services are told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from brikk_discovery.domain.agent import Agent, Order, OrderedState


class FactType(StrEnum):
    """The event types of discovery."""

    REGISTERED = "brikk.agent.registered.v1"
    DEREGISTERED = "brikk.agent.deregistered.v1"
    EXPIRED = "brikk.agent.expired.v1"
    DRAINING = "brikk.agent.draining.v1"
    MAINTENANCE = "brikk.agent.maintenance.v1"
    RESUMED = "brikk.agent.resumed.v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """Something that happened to an agent at a revision of the registry."""

    type: FactType
    agent: Agent
    revision: int
    time: datetime
    traceparent: str = ""


def fact_of(order: Order | None) -> FactType:
    """Return what happened to an agent that stands under an order now, or under none any more."""
    if order is None:
        return FactType.RESUMED
    return _ORDERED[order.state]


_ORDERED: Final = {
    OrderedState.DRAINING: FactType.DRAINING,
    OrderedState.MAINTENANCE: FactType.MAINTENANCE,
}
