"""Agents without the SDK that offer no sessions and answer word by word what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
from google.rpc import status_pb2
from grpc_status import rpc_status

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk.agent.v1.agent_runtime_service_pb2_grpc import (
    AgentRuntimeServiceServicer,
    add_AgentRuntimeServiceServicer_to_server,
)

Answer: TypeAlias = Callable[[], Awaitable[pb.ExecuteResponse | status_pb2.Status]]


class _PlainAgent(AgentRuntimeServiceServicer):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def Execute(
        self, request: pb.ExecuteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ExecuteResponse:
        answer = await self._answer()
        if isinstance(answer, status_pb2.Status):
            return await context.abort_with_status(rpc_status.to_status(answer))
        return answer


@asynccontextmanager
async def plain_agent(answer: Answer) -> AsyncIterator[str]:
    """Serves one and gives its endpoint."""
    kind: type[Any] = _PlainAgent  # to the type checker it is abstract
    server = grpc.aio.server()
    add_AgentRuntimeServiceServicer_to_server(kind(answer), server)
    endpoint = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield endpoint
    finally:
        await server.stop(None)
