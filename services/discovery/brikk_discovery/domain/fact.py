"""What happened to an agent, as the other services are told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from brikk_discovery.domain.agent import Agent


class FactType(StrEnum):
    """The event types of discovery."""

    REGISTERED = "brikk.agent.registered.v1"
    DEREGISTERED = "brikk.agent.deregistered.v1"
    EXPIRED = "brikk.agent.expired.v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """Something that happened to an agent at a revision of the registry."""

    type: FactType
    agent: Agent
    revision: int
    time: datetime
    traceparent: str = ""
