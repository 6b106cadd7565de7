"""What callers are offered, in the contract's words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final, TypeAlias

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_discovery.api.messages import PROTOCOLS, STATES
from brikk_discovery.domain.agent import Agent
from brikk_discovery.domain.offer import Offer, Summary
from brikk_discovery.domain.outcome import Observation
from brikk_discovery.domain.ranking import rank_reason

Messages: TypeAlias = "tuple[pb.WatchCapabilitiesResponse, ...]"
"""A piece of news for watchers: the contracts that its candidates name come first."""

_MAX_VERSIONS: Final = 20
# As the contract bounds them in an answer.
_MAX_CONTRACT_BYTES: Final = 1 << 21


@dataclass(frozen=True, kw_only=True, slots=True)
class Offered:
    """The answer that offers an agent, and the contract that it names."""

    candidate: pb.Candidate
    contract: pb.CapabilityContract | None


def offered(offer: Offer) -> Offered:
    """Write what callers are told of an agent."""
    capability = offer.variant.capability
    contract = _contract(capability.input_schema or "", capability.output_schema or "")
    return Offered(
        candidate=_candidate_message(offer, "" if contract is None else contract.id),
        contract=contract,
    )


def answer_of(
    candidates: Iterable[Offered], *, with_contracts: bool
) -> pb.ResolveCapabilityResponse:
    """Write the answer that offers candidates."""
    if not with_contracts:
        return pb.ResolveCapabilityResponse(candidates=[each.candidate for each in candidates])
    answer, size = pb.ResolveCapabilityResponse(), 0
    known: set[str] = set()
    for each in candidates:
        contract = each.contract
        if contract is not None and contract.id not in known:
            size += contract.ByteSize()
            if size > _MAX_CONTRACT_BYTES:
                break
            known.add(contract.id)
            answer.contracts.append(contract)
        answer.candidates.append(each.candidate)
    return answer


def contracts_of(candidates: Iterable[Offered]) -> list[pb.CapabilityContract]:
    """Give the contracts that candidates name, each once."""
    found = {each.contract.id: each.contract for each in candidates if each.contract is not None}
    return list(found.values())


@lru_cache(maxsize=1000)
def _contract(input_schema: str, output_schema: str) -> pb.CapabilityContract | None:
    if not (input_schema or output_schema):
        return None
    digest = blake2b(f"{input_schema}\0{output_schema}".encode(), digest_size=12)
    return pb.CapabilityContract(
        id=digest.hexdigest(), input_schema=input_schema, output_schema=output_schema
    )


def _candidate_message(offer: Offer, contract: str) -> pb.Candidate:
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
        contract=contract,
        labels=definition.labels,
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
