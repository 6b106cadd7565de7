"""The limit of a look-up: a call that returns as much, without registry, token or interceptor.

`python -m bench.lookup` is the server; it prints its port. It answers with the response that it was
given last, and says that it is healthy, so that it can stand for the agents of a fleet.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from brikk.discovery.v1 import discovery_service_pb2 as pb

Context = grpc.aio.ServicerContext[Any, Any]

_SERVICE = "bench.Lookup"


class NakedLookup:
    """Answers with what it was told to."""

    def __init__(self) -> None:
        self._response = pb.ResolveCapabilityResponse()

    async def look_up(
        self, _request: pb.ResolveCapabilityRequest, _context: Context
    ) -> pb.ResolveCapabilityResponse:
        """Answers at once."""
        return self._response

    async def tell(
        self, response: pb.ResolveCapabilityResponse, _context: Context
    ) -> pb.ResolveCapabilityResponse:
        """Takes the response for the look-ups to come."""
        self._response = response
        return response


class NakedLookups:
    """Calls the naked server as callers call discovery."""

    def __init__(self, channel: grpc.aio.Channel, address: str) -> None:
        self.address = address
        self._tell = channel.unary_unary(
            f"/{_SERVICE}/tell",
            pb.ResolveCapabilityResponse.SerializeToString,
            pb.ResolveCapabilityResponse.FromString,
        )
        self._look_up = channel.unary_unary(
            f"/{_SERVICE}/look_up",
            pb.ResolveCapabilityRequest.SerializeToString,
            pb.ResolveCapabilityResponse.FromString,
        )

    async def answer_with(self, response: pb.ResolveCapabilityResponse) -> None:
        """Says what to answer with from now on."""
        await self._tell(response, timeout=10)

    async def call(self, request: pb.ResolveCapabilityRequest) -> None:
        """Makes one call."""
        await self._look_up(request, timeout=30)


@asynccontextmanager
async def naked_lookup() -> AsyncIterator[NakedLookups]:
    """Runs the server in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.lookup", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        address = f"127.0.0.1:{int(await process.stdout.readline())}"
        async with grpc.aio.insecure_channel(address) as channel:
            yield NakedLookups(channel, address)
    finally:
        process.terminate()
        await process.wait()


async def serve() -> None:
    """Serves until terminated."""
    lookup = NakedLookup()
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "look_up": grpc.unary_unary_rpc_method_handler(
            lookup.look_up,
            request_deserializer=pb.ResolveCapabilityRequest.FromString,
            response_serializer=pb.ResolveCapabilityResponse.SerializeToString,
        ),
        "tell": grpc.unary_unary_rpc_method_handler(
            lookup.tell,
            request_deserializer=pb.ResolveCapabilityResponse.FromString,
            response_serializer=pb.ResolveCapabilityResponse.SerializeToString,
        ),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
    health = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    await health.set("", health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
