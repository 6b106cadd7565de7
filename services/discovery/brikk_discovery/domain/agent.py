"""What an agent says of itself when it registers, and what must hold of that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

from packaging.version import InvalidVersion, Version

from brikk_discovery.domain.schemas import schema_problems
from brikk_shared.errors import FieldViolation, InvalidArgument, Reason
from brikk_shared.path import written

MAX_SCHEMAS = 128 << 10
"""Bytes that all different schemas of an agent may have together, as JSON."""


# Told at once; more of them would not fit into an answer.
_MOST_VIOLATIONS = 10


class AgentKey(NamedTuple):
    """Which agent of which organisation; nothing in the registry is found by less."""

    organization: str
    agent_id: str

    @property
    def name(self) -> str:
        """The agent's resource name."""
        return f"agents/{self.agent_id}"


class Protocol(StrEnum):
    """What an agent speaks at its endpoint."""

    BRIKK = "brikk"
    A2A_GRPC = "a2a_grpc"


class Doubt(StrEnum):
    """Why an agent is suspect. A change of doubt is a change of the registry, with a revision."""

    NONE = ""
    SILENT = "silent"
    """Its heartbeats are missing."""
    UNREACHABLE = "unreachable"
    """It does not answer where it says that it listens."""
    FLAPPING = "flapping"
    """It comes and goes."""


class OrderedState(StrEnum):
    """What an operator may want an agent to be, against its own word."""

    DRAINING = "draining"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """An operator's standing order. It outlasts reconnects, expiry and restarts."""

    state: OrderedState
    reason: str
    """Why, in the operator's words."""
    by: str
    """Who gave it, as tokens name subjects."""
    time: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Capability:
    """One thing that a service can do. Schemas are JSON texts, so that unused ones cost little."""

    name: str
    description: str = ""
    input_schema: str | None = None
    output_schema: str | None = None
    tags: tuple[str, ...] = ()
    version: str = ""
    """As PEP 440 orders versions; empty when there is only one."""
    examples: tuple[str, ...] = ()
    """What people ask of it, in their words."""
    cost_micros: int = 0
    """Declared price of a call in millionths; 0 when it is free or unknown."""
    latency: timedelta | None = None
    """Declared latency of a typical call; None when unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A named offer of an agent."""

    service_id: str
    description: str = ""
    capabilities: tuple[Capability, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """Everything that an agent says of itself; a registration replaces it as a whole."""

    display_name: str = ""
    endpoint: str
    protocol: Protocol = Protocol.BRIKK
    zone: str = ""
    version: str = ""
    labels: Mapping[str, str]
    services: tuple[Service, ...]
    capacity: int = 0
    """Most calls it takes at once; 0 when it did not say."""

    def capability_names(self) -> list[str]:
        """What it can do, each name once, sorted."""
        return sorted({item.name for service in self.services for item in service.capabilities})


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """How busy an agent is, as its last heartbeat said."""

    in_flight: int = 0
    draining: bool = False
    """Whether it is going away by its own wish."""
    ready: bool = True
    """Whether it can take new work at all."""
    capacity: int | None = None
    """Most calls it takes at once from now on; None while no heartbeat told it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """A registered agent instance with its lease. Times are by the store's clock."""

    key: AgentKey
    incarnation: str
    epoch: int
    """Fencing token: grows with each incarnation, also across removals."""
    revision: int
    """The registry's revision at which this registration last changed."""
    definition: Definition
    load: Load
    register_time: datetime
    beat_time: datetime
    expire_time: datetime
    doubt: Doubt = Doubt.NONE
    order: Order | None = None

    @property
    def capacity(self) -> int:
        """Most calls it takes at once, by its latest word; 0 when it never said."""
        told = self.load.capacity
        return self.definition.capacity if told is None else told


def check(definition: Definition) -> None:
    """Refuse what the contract's field limits cannot express.

    Raises:
        InvalidArgument: INVALID_FIELD with every violation.
    """
    violations = list(islice(_violations(definition), _MOST_VIOLATIONS))
    if violations:
        raise InvalidArgument(
            Reason.INVALID_FIELD,
            "; ".join(f"{item.field} {item.description}" for item in violations),
            metadata={"field": violations[0].field},
            violations=violations,
        )


def _schema_violations(definition: Definition) -> Iterator[FieldViolation]:
    """Find what is no acceptable schema, each different one once."""
    told: dict[str, str] = {}
    for at, service in enumerate(definition.services):
        for position, item in enumerate(service.capabilities):
            field = f"agent.services[{at}].capabilities[{position}]"
            for name, schema in (
                ("input_schema", item.input_schema),
                ("output_schema", item.output_schema),
            ):
                if schema is not None:
                    told.setdefault(schema, f"{field}.{name}")
    size = sum(map(len, told))
    if size > MAX_SCHEMAS:
        limit = f"of at most {MAX_SCHEMAS} bytes together, not {size}"
        yield FieldViolation("agent.services", f"must have schemas {limit}")
        return
    for schema, field in told.items():
        for path, problem in schema_problems(schema):
            yield FieldViolation(written((field, *path)), problem)


def _violations(definition: Definition) -> Iterator[FieldViolation]:
    yield from _schema_violations(definition)
    port = int(definition.endpoint.rpartition(":")[2])
    if not 1 <= port <= 65535:
        yield FieldViolation("agent.endpoint", f"must have a port from 1 to 65535, not {port}")
    services: set[str] = set()
    for at, service in enumerate(definition.services):
        path = f"agent.services[{at}]"
        if service.service_id in services:
            yield FieldViolation(f"{path}.service_id", f"repeats {service.service_id!r}")
        services.add(service.service_id)
        capabilities: set[tuple[str, Version | None]] = set()
        for position, item in enumerate(service.capabilities):
            field = f"{path}.capabilities[{position}]"
            try:
                version = Version(item.version) if item.version else None
            except InvalidVersion:
                yield FieldViolation(
                    f"{field}.version", f"must be a PEP 440 version, not {item.version!r}"
                )
                continue
            if (item.name, version) in capabilities:
                yield FieldViolation(f"{field}.capability", f"repeats {item.name!r}")
            capabilities.add((item.name, version))
