"""What callers are offered, in the contract's words."""

from __future__ import annotations

from typing import Final

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_discovery.api.messages import PROTOCOLS, STATES
from brikk_discovery.domain.agent import Agent
from brikk_discovery.domain.offer import Offer, Summary
from brikk_discovery.domain.outcome import Observation
from brikk_discovery.domain.ranking import rank_reason

_MAX_VERSIONS: Final = 20


def candidate_message(offer: Offer) -> pb.Candidate:
    """Write the answer that offers an agent."""
    agent, (service_id, capability) = offer.agent, offer.variant
    definition, observation = agent.definition, offer.observation
    name = agent.key.name
    message = pb.Candidate(
        agent=name,
        endpoint=definition.endpoint,
        state=STATES[offer.state],
        in_flight=agent.load.in_flight,
        capacity=agent.capacity,
        rank_reason=rank_reason(agent, offer.state, observation),
        capability=capability.name,
        version=capability.version,
        protocol=PROTOCOLS[definition.protocol],
        zone=definition.zone,
        service=f"{name}/services/{service_id}",
        cost_micros=capability.cost_micros,
        observation=observation_message(agent, capability.name, observation),
    )
    message.register_time.FromDatetime(agent.register_time)
    if capability.latency is not None:
        message.latency.FromTimedelta(capability.latency)
    return message


def observation_message(
    agent: Agent, capability: str, observation: Observation | None
) -> pb.Observation | None:
    """Write how calls to an agent go; None when nobody tells."""
    if observation is None:
        return None
    message = pb.Observation(
        agent=agent.key.name,
        capability=capability,
        calls=observation.calls,
        success_rate=observation.success_rate,
        quality=observation.quality,
        in_flight=agent.load.in_flight,
    )
    message.latency.FromTimedelta(observation.latency)
    return message


def summary_message(summary: Summary) -> pb.CapabilitySummary:
    """Write who offers a capability."""
    return pb.CapabilitySummary(
        capability=summary.name,
        description=summary.description,
        agent_count=summary.agents,
        ready_agent_count=summary.ready,
        versions=summary.versions[:_MAX_VERSIONS],
    )
