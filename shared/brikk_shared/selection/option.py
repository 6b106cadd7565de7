"""What is chosen among, and how: the options of a group and the policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple


class Policy(StrEnum):
    """How to choose among the options that are fit for a call. All of them leave out the unfit."""

    BEST = "best"
    """The most promising by success, quality, latency, load and cost."""
    LEAST_IN_FLIGHT = "least_in_flight"
    """The one with the most room."""
    ROUND_ROBIN = "round_robin"
    """Each in turn."""
    RANDOM = "random"
    """Any."""


class Group(NamedTuple):
    """Who is asked for: the options of one group compete with each other."""

    organization: str
    capability: str
    filter: str = ""
    """What narrows the options down further, for instance a version range, in any notation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """What all callers lately experienced with an option, as the registry told."""

    calls: float
    """Calls it rests on, weighed by age."""
    success_rate: float
    """0 to 1."""
    latency: timedelta | None = None
    """Mean; None when unknown."""
    quality: float = 1.0
    """Mean of what callers judged, 0 to 1."""
    receive_time: float
    """The clock's monotonic seconds when the registry told: an old observation weighs less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """An agent that offers the capability."""

    agent: str
    """`agents/x`; unique in a group."""
    endpoint: str
    """Where it listens: `host:port`."""
    zone: str = ""
    """Failure domain it runs in; empty when unknown."""
    suspect: bool = False
    """Whether the registry doubts that it is well."""
    capacity: int = 0
    """Most calls it takes at once; 0 when it did not say: it then counts as having one slot."""
    in_flight: int = 0
    """Calls in flight at its last heartbeat, those of this process included."""
    cost_micros: int = 0
    """Declared price of a call; 0 when it is free or unknown."""
    latency: timedelta | None = None
    """Declared latency of a typical call; None when unknown."""
    register_time: datetime | None = None
    """When it registered: it starts slowly. None when unknown."""
    observation: Observation | None = None
    """What all callers experienced; None when nobody did."""
    input_schema: str = ""
    """JSON Schema of what it takes, as JSON; empty when anything goes."""
    output_schema: str = ""
    """JSON Schema of what it answers, as JSON; empty when anything may come."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What its registration says of it."""
