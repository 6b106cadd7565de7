"""DiscoveryService: how agents register and stay registered, and how callers find them."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import status_pb2

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceServicer
from brikk_discovery.api.messages import agent_message, definition_of, key_of
from brikk_discovery.domain.agent import AgentKey, Load, check
from brikk_discovery.domain.lease import Registration, Removal, Terms, lease_gone
from brikk_discovery.domain.ranking import state_of
from brikk_discovery.runtime.beats import Beats
from brikk_discovery.runtime.changes import Changes
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.registry import Registry
from brikk_shared.call import organization
from brikk_shared.errors import invalid_field, not_found
from brikk_shared.pagination import next_token, page_of
from brikk_shared.status import to_status

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

_DEFAULT_RESULTS: Final = 20
_MAX_RESULTS: Final = 100


class DiscoveryServicer(DiscoveryServiceServicer):
    """Reads are answered from the registry in memory, changes once they are committed."""

    def __init__(
        self,
        *,
        registry: Registry[pb.Candidate],
        changes: Changes,
        beats: Beats,
        terms: Terms,
        metrics: Metrics,
    ) -> None:
        self._registry = registry
        self._changes = changes
        self._beats = beats
        self._interval = Duration()
        self._interval.FromTimedelta(terms.heartbeat_interval)
        self._duration = Duration()
        self._duration.FromTimedelta(terms.expire_after)
        self._found = metrics.resolutions.labels("found")
        self._empty = metrics.resolutions.labels("empty")

    async def RegisterAgent(
        self, request: pb.RegisterAgentRequest, context: _Context
    ) -> pb.RegisterAgentResponse:
        """Register an agent with all its services, or replace what it had registered."""
        key = AgentKey(organization(), request.agent_id)
        if request.agent.name not in ("", key.name):
            raise invalid_field("agent.name", f"must be {key.name}, or absent")
        definition = definition_of(request.agent)
        check(definition)
        agent = await self._changes.register(
            Registration(key=key, incarnation=request.incarnation, definition=definition)
        )
        state = state_of(agent.load, capacity=definition.capacity, silent=False)
        return pb.RegisterAgentResponse(
            agent=agent_message(agent, state),
            epoch=agent.epoch,
            heartbeat_interval=self._interval,
            lease_duration=self._duration,
        )

    async def Heartbeat(
        self, request: pb.HeartbeatRequest, context: _Context
    ) -> pb.HeartbeatResponse:
        """Renew leases, each judged by itself."""
        caller = organization()
        return pb.HeartbeatResponse(
            results=[
                pb.BeatResult(
                    agent=beat.agent, status=self._renew(key_of(caller, beat.agent), beat)
                )
                for beat in request.beats
            ],
            heartbeat_interval=self._interval,
        )

    async def DeregisterAgent(
        self, request: pb.DeregisterAgentRequest, context: _Context
    ) -> pb.DeregisterAgentResponse:
        """End a registration at once."""
        key = key_of(organization(), request.agent)
        await self._changes.remove(Removal(key=key, epoch=request.epoch))
        return pb.DeregisterAgentResponse()

    async def GetAgent(self, request: pb.GetAgentRequest, context: _Context) -> agent_pb2.Agent:
        """Return one live agent."""
        entry = self._registry.get(key_of(organization(), request.name))
        if entry is None:
            raise not_found(request.name)
        return agent_message(entry.agent, entry.state)

    async def ListAgents(
        self, request: pb.ListAgentsRequest, context: _Context
    ) -> pb.ListAgentsResponse:
        """List the live agents, by name."""
        page = page_of(request)
        entries = self._registry.page(
            organization(), after=page.cursor, size=page.size + 1, capability=request.capability
        )
        response = pb.ListAgentsResponse(
            agents=[agent_message(entry.agent, entry.state) for entry in entries[: page.size]]
        )
        if len(entries) > page.size:
            response.next_page_token = next_token(
                request, entries[page.size - 1].agent.key.agent_id
            )
        return response

    async def ResolveCapability(
        self, request: pb.ResolveCapabilityRequest, context: _Context
    ) -> pb.ResolveCapabilityResponse:
        """Return the live agents that offer a capability, best first."""
        caller = organization()
        candidates = self._registry.resolve(
            caller,
            request.capability,
            limit=min(request.max_results or _DEFAULT_RESULTS, _MAX_RESULTS),
            excluded={key_of(caller, name).agent_id for name in request.excluded_agents},
        )
        (self._found if candidates else self._empty).inc()
        return pb.ResolveCapabilityResponse(candidates=candidates)

    def _renew(self, key: AgentKey, beat: pb.Beat) -> status_pb2.Status:
        load = Load(in_flight=beat.in_flight, draining=beat.draining)
        if self._beats.take(key, beat.epoch, load):
            return status_pb2.Status()
        return to_status(lease_gone(key))
