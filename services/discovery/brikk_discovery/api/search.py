"""How services are found from words."""

from __future__ import annotations

from typing import Final

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_discovery.api.messages import service_message
from brikk_discovery.api.parts import Context, Methods
from brikk_discovery.domain.agent import AgentKey
from brikk_shared.call import organization

_DEFAULT_RESULTS: Final = 10
_MAX_RESULTS: Final = 100


class SearchMethods(Methods):
    """Answers from the index in memory."""

    async def SearchAgents(
        self, request: pb.SearchAgentsRequest, context: Context
    ) -> pb.SearchAgentsResponse:
        """Find services of live agents from words or a sentence."""
        caller = organization()
        limit = min(request.max_results or _DEFAULT_RESULTS, _MAX_RESULTS)
        matches = self._parts.search.find(caller, request.query, limit)
        results = []
        for match in matches:
            key = AgentKey(caller, match.agent_id)
            results.append(
                pb.SearchResult(
                    agent=key.name,
                    service=service_message(key, match.service),
                    score=match.score,
                    capabilities=match.capabilities,
                )
            )
        return pb.SearchAgentsResponse(results=results)
