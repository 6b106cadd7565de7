"""Agents between the contract and the domain."""

from __future__ import annotations

import json
from typing import Final

from google.protobuf.struct_pb2 import Struct

from brikk.discovery.v1 import agent_pb2
from brikk_discovery.domain.agent import (
    Agent,
    AgentKey,
    Capability,
    Definition,
    Protocol,
    Service,
)
from brikk_discovery.domain.ranking import State, state_reason
from brikk_shared.structs import from_struct, to_struct

_PREFIX: Final = "agents/"
STATES: Final = {
    State.READY: agent_pb2.Agent.STATE_READY,
    State.BUSY: agent_pb2.Agent.STATE_BUSY,
    State.DRAINING: agent_pb2.Agent.STATE_DRAINING,
    State.SUSPECT: agent_pb2.Agent.STATE_SUSPECT,
    State.MAINTENANCE: agent_pb2.Agent.STATE_MAINTENANCE,
}
PROTOCOLS: Final = {
    Protocol.BRIKK: agent_pb2.PROTOCOL_BRIKK,
    Protocol.A2A_GRPC: agent_pb2.PROTOCOL_A2A_GRPC,
}
_PROTOCOLS: Final = {number: protocol for protocol, number in PROTOCOLS.items()}


def key_of(organization: str, name: str) -> AgentKey:
    """Give the key of `agents/{agent}`, whose form the contract has checked."""
    return AgentKey(organization, name.removeprefix(_PREFIX))


def definition_of(message: agent_pb2.Agent) -> Definition:
    """Read what an agent says of itself; what only the registry may say is ignored."""
    return Definition(
        display_name=message.display_name,
        endpoint=message.endpoint,
        protocol=_PROTOCOLS.get(message.protocol, Protocol.BRIKK),
        zone=message.zone,
        version=message.version,
        labels=dict(message.labels),
        services=tuple(
            Service(
                service_id=service.service_id,
                description=service.description,
                capabilities=tuple(_capability_of(item) for item in service.capabilities),
            )
            for service in message.services
        ),
        capacity=message.capacity,
    )


def agent_message(agent: Agent, state: State) -> agent_pb2.Agent:
    """Write an agent as it stands."""
    definition = agent.definition
    message = agent_pb2.Agent(
        name=agent.key.name,
        display_name=definition.display_name,
        endpoint=definition.endpoint,
        protocol=PROTOCOLS[definition.protocol],
        zone=definition.zone,
        version=definition.version,
        labels=definition.labels,
        services=[service_message(agent.key, service) for service in definition.services],
        state=STATES[state],
        state_reason=state_reason(agent, state),
        capacity=agent.capacity,
        in_flight=agent.load.in_flight,
        revision=agent.revision,
    )
    message.register_time.FromDatetime(agent.register_time)
    message.heartbeat_time.FromDatetime(agent.beat_time)
    message.expire_time.FromDatetime(agent.expire_time)
    return message


def _capability_of(message: agent_pb2.AgentCapability) -> Capability:
    return Capability(
        name=message.capability,
        description=message.description,
        input_schema=_text(message.input_schema) if message.HasField("input_schema") else None,
        output_schema=_text(message.output_schema) if message.HasField("output_schema") else None,
        tags=tuple(message.tags),
        version=message.version,
        examples=tuple(message.examples),
        cost_micros=message.cost_micros,
        latency=message.latency.ToTimedelta() if message.HasField("latency") else None,
    )


def service_message(key: AgentKey, service: Service) -> agent_pb2.AgentService:
    """Write an offer of an agent."""
    return agent_pb2.AgentService(
        name=f"{key.name}/services/{service.service_id}",
        service_id=service.service_id,
        description=service.description,
        capabilities=[_capability_message(item) for item in service.capabilities],
    )


def _capability_message(item: Capability) -> agent_pb2.AgentCapability:
    message = agent_pb2.AgentCapability(
        capability=item.name,
        description=item.description,
        input_schema=_struct(item.input_schema),
        output_schema=_struct(item.output_schema),
        tags=item.tags,
        version=item.version,
        examples=item.examples,
        cost_micros=item.cost_micros,
    )
    if item.latency is not None:
        message.latency.FromTimedelta(item.latency)
    return message


def _text(schema: Struct) -> str:
    # Sorted, so that the same schema is the same text: a Struct's members have no order.
    return json.dumps(from_struct(schema), sort_keys=True, separators=(",", ":"))


def _struct(schema: str | None) -> Struct | None:
    return None if schema is None else to_struct(json.loads(schema))
