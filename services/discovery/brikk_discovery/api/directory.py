"""How callers find agents: every answer comes from the registry in memory."""

from __future__ import annotations

from typing import Final, TypeAlias

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_discovery.api.candidates import Offered, answer_of, summary_message
from brikk_discovery.api.messages import PROTOCOLS, agent_message, key_of
from brikk_discovery.api.parts import Context, Methods, Parts
from brikk_discovery.domain.filter import compile_filter
from brikk_shared.call import organization
from brikk_shared.errors import not_found
from brikk_shared.pagination import cut, page_of

_DEFAULT_RESULTS: Final = 20
_MAX_RESULTS: Final = 100
# Most answers that are kept for whoever asks the same.
_ANSWERS: Final = 4096
_PROTOCOLS: Final = {message: protocol for protocol, message in PROTOCOLS.items()}

_Candidates: TypeAlias = "tuple[Offered, ...]"
# Organisation, capability, and whether contracts are told.
_Question: TypeAlias = tuple[str, str, bool]


class DirectoryMethods(Methods):
    """Reads of the registry."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._found = parts.metrics.resolutions.labels("found")
        self._empty = parts.metrics.resolutions.labels("empty")
        self._answers: dict[_Question, tuple[_Candidates, pb.ResolveCapabilityResponse]] = {}

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
        shown, token = cut(request, page, entries, lambda entry: entry.agent.key.agent_id)
        return pb.ListAgentsResponse(
            agents=[agent_message(entry.agent, entry.state) for entry in shown],
            next_page_token=token,
        )

    async def ListCapabilities(
        self, request: pb.ListCapabilitiesRequest, context: Context
    ) -> pb.ListCapabilitiesResponse:
        """List the capabilities that live agents offer, by name."""
        page = page_of(request)
        summaries = self._parts.registry.capabilities(
            organization(), prefix=request.prefix, after=page.cursor, size=page.size + 1
        )
        shown, token = cut(request, page, summaries, lambda summary: summary.name)
        return pb.ListCapabilitiesResponse(
            capabilities=[summary_message(summary) for summary in shown], next_page_token=token
        )

    async def ResolveCapability(
        self, request: pb.ResolveCapabilityRequest, context: Context
    ) -> pb.ResolveCapabilityResponse:
        """Return the live agents that offer a capability, best first."""
        caller, registry = organization(), self._parts.registry
        candidates = registry.resolve(
            caller,
            request.capability,
            limit=min(request.max_results or _DEFAULT_RESULTS, _MAX_RESULTS),
            excluded={key_of(caller, name).agent_id for name in request.excluded_agents},
            wanted=compile_filter(
                request.version_range,
                request.selector,
                request.zone,
                _PROTOCOLS.get(request.protocol),
            ),
        )
        (self._found if candidates else self._empty).inc()
        question = (caller, request.capability, request.with_contracts)
        response = self._answer(question, candidates)
        # Others may be about to send this message, too: it holds for all of them at this revision.
        response.revision = registry.revision
        return response

    def _answer(self, question: _Question, candidates: _Candidates) -> pb.ResolveCapabilityResponse:
        """Give the answer of some candidates: the same one until something moves.

        To copy them anew for each question would be most of its cost.
        """
        written = self._answers.get(question)
        if written is not None and written[0] is candidates:
            return written[1]
        response = answer_of(candidates, with_contracts=question[2])
        if len(self._answers) >= _ANSWERS:
            self._answers.clear()
        self._answers[question] = (candidates, response)
        return response
