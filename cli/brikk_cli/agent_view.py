"""How agents look to people: in a list, one by one, as candidates for work, as finds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brikk.discovery.v1 import agent_pb2, discovery_service_pb2
from brikk_cli.render import duration, moment, money, plain, state, table
from brikk_shared.structs import from_struct


def agents_table(agents: Iterable[agent_pb2.Agent]) -> Table:
    """A line per agent."""
    rows = (
        (
            each.name,
            each.display_name,
            agent_state(each.state),
            _load(each.in_flight, each.capacity),
            each.endpoint,
            moment(each.heartbeat_time),
            ", ".join(sorted(c.capability for s in each.services for c in s.capabilities)),
        )
        for each in agents
    )
    columns = ("agent", "name", "state", "in flight", "endpoint", "last beat", "capabilities")
    return table(columns, rows)


def agent_view(agent: agent_pb2.Agent) -> Group:
    """All that is known of one agent."""
    facts = {
        "name": agent.display_name,
        "version": agent.version,
        "endpoint": f"{agent.endpoint} ({_protocol(agent.protocol)})",
        "zone": agent.zone,
        "labels": ",".join(f"{key}={value}" for key, value in sorted(agent.labels.items())),
        "in flight": _load(agent.in_flight, agent.capacity),
        "registered": moment(agent.register_time),
        "last beat": moment(agent.heartbeat_time),
        "expires": moment(agent.expire_time),
    }
    services = (
        (
            service.service_id,
            each.capability,
            each.version,
            money(each.cost_micros),
            _latency(each),
            each.description or service.description,
        )
        for service in agent.services
        for each in service.capabilities
    )
    known = table(("fact", "value"), ((name, fact) for name, fact in facts.items() if fact))
    known.show_header = False
    parts: list[RenderableType] = [
        state_line(agent),
        known,
        table(("service", "capability", "version", "cost", "latency", "description"), services),
    ]
    if schemas := list(_schemas(agent)):
        parts.append(table(("capability", "of its", "schema"), schemas))
    return Group(*parts)


def state_line(agent: agent_pb2.Agent) -> Text:
    """An agent's state with the reason, in a line."""
    reason = f" ({agent.state_reason})" if agent.state_reason else ""
    return Text.assemble(plain(f"{agent.name}: "), agent_state(agent.state), plain(reason))


def candidates_table(candidates: Iterable[discovery_service_pb2.Candidate]) -> Table:
    """A line per candidate, in the order given."""
    rows = (
        (
            each.agent,
            each.capability,
            each.version,
            agent_state(each.state),
            _load(each.in_flight, each.capacity),
            each.endpoint,
            each.zone,
            money(each.cost_micros),
            _latency(each),
            _observed(each),
            each.rank_reason,
        )
        for each in candidates
    )
    columns = ("agent", "capability", "version", "state", "in flight", "endpoint", "zone")
    return _used((*columns, "cost", "latency", "observed", "why"), rows)


def capabilities_table(
    capabilities: Iterable[discovery_service_pb2.CapabilitySummary],
) -> Table:
    """A line per capability."""
    rows = (
        (
            each.capability,
            each.agent_count,
            each.ready_agent_count,
            ", ".join(each.versions),
            each.description,
        )
        for each in capabilities
    )
    return table(("capability", "agents", "ready", "versions", "description"), rows)


def finds_table(results: Iterable[discovery_service_pb2.SearchResult]) -> Table:
    """A line per service that was found, best first."""
    rows = (
        (
            each.service.name,
            f"{each.score:.2f}",
            ", ".join(each.capabilities),
            each.service.description,
        )
        for each in results
    )
    return table(("service", "score", "capabilities that match", "description"), rows)


def agent_state(value: agent_pb2.Agent.State.ValueType) -> Text:
    """An agent's state in its colour."""
    return state(agent_pb2.Agent.State.Name(value))


def _schemas(agent: agent_pb2.Agent) -> Iterator[tuple[str, str, str]]:
    """The schemas of an agent's capabilities, as JSON."""
    for service in agent.services:
        for each in service.capabilities:
            for name, schema in (("input", each.input_schema), ("output", each.output_schema)):
                if schema.fields:
                    text = json.dumps(from_struct(schema), ensure_ascii=False, sort_keys=True)
                    yield each.capability, name, text


def _used(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """A table without the columns that nobody filled."""
    filled = list(rows)
    used = [at for at in range(len(columns)) if not filled or any(row[at] for row in filled)]
    return table([columns[at] for at in used], [[row[at] for at in used] for row in filled])


def _load(in_flight: int, capacity: int) -> str:
    return f"{in_flight}/{capacity or '-'}"


def _protocol(value: agent_pb2.Protocol.ValueType) -> str:
    return agent_pb2.Protocol.Name(value).removeprefix("PROTOCOL_").lower()


def _latency(of: agent_pb2.AgentCapability | discovery_service_pb2.Candidate) -> str:
    return duration(of.latency.ToTimedelta()) if of.HasField("latency") else ""


def _observed(candidate: discovery_service_pb2.Candidate) -> str:
    if not candidate.HasField("observation"):
        return ""
    seen = candidate.observation
    return f"{seen.success_rate:.0%} in {duration(seen.latency.ToTimedelta())}"
