"""Discovery as a test dictates it, for what asks it through a `Resolve`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from brikk.discovery.v1.discovery_service_pb2 import (
    Candidate,
    ResolveCapabilityRequest,
    ResolveCapabilityResponse,
)
from brikk_shared.errors import Reason, Unavailable


@dataclass(kw_only=True)
class ScriptedDiscovery:
    """Agents by capability, the same in every organisation; each listens at `<its id>:1`.

    While `down` it does not answer. While `answering` is clear, questions wait.
    """

    agents: Mapping[str, list[str]] = field(default_factory=dict)
    down: bool = False
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answering.set()

    async def resolve(
        self, organization: str, request: ResolveCapabilityRequest
    ) -> ResolveCapabilityResponse:
        """Answers; remembers what was asked for."""
        self.asked.append((organization, request.capability))
        await self.answering.wait()
        if self.down:
            raise Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "discovery is down")
        return ResolveCapabilityResponse(
            candidates=[
                Candidate(agent=f"agents/{agent}", endpoint=f"{agent}:1")
                for agent in self.agents.get(request.capability, ())
            ]
        )
