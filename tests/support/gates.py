"""Work of agents that waits until a test lets it go on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk_shared.structs import Json, from_struct


class Gate:
    """Work that waits at a gate, so that a test knows what is in flight when it strikes.

    `left` is set once a call is over, however it ended.
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.left = asyncio.Event()

    async def work(self, request: agent_pb.ExecuteRequest) -> Mapping[str, Json]:
        """Returns its input when the gate is open."""
        try:
            await self.open.wait()
        finally:
            self.left.set()
        return from_struct(request.input)
