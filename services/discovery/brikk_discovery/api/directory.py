"""How callers find agents: every answer comes from the registry in memory."""

from __future__ import annotations

from typing import Final

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_discovery.api.messages import agent_message, key_of
from brikk_discovery.api.parts import Context, Methods, Parts
from brikk_shared.call import organization
from brikk_shared.errors import not_found
from brikk_shared.pagination import next_token, page_of

_DEFAULT_RESULTS: Final = 20
_MAX_RESULTS: Final = 100


class DirectoryMethods(Methods):
    """Reads of the registry."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._found = parts.metrics.resolutions.labels("found")
        self._empty = parts.metrics.resolutions.labels("empty")

    async def GetAgent(self, request: pb.GetAgentRequest, context: Context) -> agent_pb2.Agent:
        """Return one live agent."""
        entry = self._parts.registry.get(key_of(organization(), request.name))
        if entry is None:
            raise not_found(request.name)
        return agent_message(entry.agent, entry.state)

    async def ListAgents(
        self, request: pb.ListAgentsRequest, context: Context
    ) -> pb.ListAgentsResponse:
        """List the live agents, by name."""
        page = page_of(request)
        entries = self._parts.registry.page(
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
        self, request: pb.ResolveCapabilityRequest, context: Context
    ) -> pb.ResolveCapabilityResponse:
        """Return the live agents that offer a capability, best first."""
        caller = organization()
        candidates = self._parts.registry.resolve(
            caller,
            request.capability,
            limit=min(request.max_results or _DEFAULT_RESULTS, _MAX_RESULTS),
            excluded={key_of(caller, name).agent_id for name in request.excluded_agents},
        )
        (self._found if candidates else self._empty).inc()
        return pb.ResolveCapabilityResponse(candidates=candidates)
