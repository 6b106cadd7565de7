"""The limit: the same agent call without engine, store, token or interceptor.

`python -m bench.naked` is the server; it prints its port. It does what the benched agent does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2, agent_runtime_service_pb2_grpc

TEXT = "The quick brown fox jumps over the lazy dog."


class NakedAgent(agent_runtime_service_pb2_grpc.AgentRuntimeServiceServicer):
    """Returns its input."""

    async def Execute(
        self,
        request: agent_runtime_service_pb2.ExecuteRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> agent_runtime_service_pb2.ExecuteResponse:
        """Answers at once."""
        return agent_runtime_service_pb2.ExecuteResponse(output=request.input)

    async def Session(  # type: ignore[override]  # a coroutine may abort instead of yielding
        self, request_iterator: object, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Offers none: a naked call goes by itself."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED)

    async def Bid(
        self,
        request: agent_runtime_service_pb2.BidRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> agent_runtime_service_pb2.BidResponse:
        """Makes none."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED)


class NakedCalls:
    """Calls the naked agent as the engine calls an agent."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = agent_runtime_service_pb2_grpc.AgentRuntimeServiceStub(channel)
        self._request = agent_runtime_service_pb2.ExecuteRequest(
            capability="bench.echo",
            execution="executions/0000000000000000000000000000",
            step="first",
            attempt=1,
            idempotency_key="executions/0000000000000000000000000000/first",
        )
        self._request.input.update({"text": TEXT})

    async def call(self) -> None:
        """Makes one call."""
        await self._stub.Execute(self._request, timeout=30)


@asynccontextmanager
async def naked_agent() -> AsyncIterator[NakedCalls]:
    """Runs the server in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.naked", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield NakedCalls(channel)
    finally:
        process.terminate()
        await process.wait()


async def serve() -> None:
    """Serves until terminated."""
    server = grpc.aio.server()
    agent_runtime_service_pb2_grpc.add_AgentRuntimeServiceServicer_to_server(NakedAgent(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
