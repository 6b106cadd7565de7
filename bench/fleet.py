"""Thousands of simulated agents that register as real ones do, each by itself, and beat as they do:
those of a process together, on a stream.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias

import grpc

from bench.load import Load, put_load
from brikk.discovery.v1 import agent_pb2, discovery_service_pb2_grpc
from brikk.discovery.v1 import discovery_service_pb2 as pb

SERVICES = 10
"""Of each agent; each offers one capability."""
CAPABILITIES = 100
CONNECTIONS = 50
"""That carry the streams of all."""

_Send: TypeAlias = Callable[[pb.HeartbeatRequest], Awaitable[pb.HeartbeatResponse]]


class Fleet:
    """Agents 0 to n of one organisation, that listen where `endpoint` says.

    `address` is the registry's, and so is `channel`.
    """

    def __init__(
        self,
        address: str,
        channel: grpc.aio.Channel,
        metadata: tuple[tuple[str, str], ...],
        endpoint: str,
    ) -> None:
        self._address = address
        self._stub = discovery_service_pb2_grpc.DiscoveryServiceStub(channel)
        self._metadata = metadata
        self._endpoint = endpoint
        self._registrations: list[pb.RegisterAgentRequest] = []
        self._epochs: dict[int, int] = {}
        self.refused = 0

    async def grow(self, size: int) -> Load:
        """Registers so many more that there are `size`, 64 at a time."""
        first = len(self._registrations)
        self._registrations += [self._registration(number) for number in range(first, size)]
        return await self._register(range(first, size), in_flight=64)

    async def register_again(self) -> Load:
        """Registers all at once."""
        return await self._register(
            range(len(self._registrations)), in_flight=len(self._registrations)
        )

    async def change_one(self) -> None:
        """Replaces what agent 0 registered by something a little different."""
        request = self._registrations[0]
        request.agent.version = f"1.{random.randrange(10**9)}"  # noqa: S311
        await self._stub.RegisterAgent(request, metadata=self._metadata, timeout=60)

    @asynccontextmanager
    async def beating(
        self, interval: float, *, in_process: int = 1, streams: bool = True
    ) -> AsyncIterator[list[float]]:
        """Beats while the block runs, each agent once in so many seconds, so many agents to a
        process: on a stream of its own, or with a call each time. Gives the latencies in ms.
        """
        latencies: list[float] = []
        size = len(self._registrations)
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            stubs = [
                discovery_service_pb2_grpc.DiscoveryServiceStub(
                    await stack.enter_async_context(connection(self._address))
                )
                for _ in range(CONNECTIONS)
            ]
            beats = [
                group.create_task(
                    self._beat(
                        range(first, min(first + in_process, size)),
                        self._on_stream(stubs[place % CONNECTIONS]) if streams else self._by_call,
                        interval,
                        latencies,
                    )
                )
                for place, first in enumerate(range(0, size, in_process))
            ]
            try:
                yield latencies
            finally:
                for each in beats:
                    each.cancel()

    async def _register(self, numbers: range, *, in_flight: int) -> Load:
        waiting = iter(numbers)

        async def register() -> None:
            number = next(waiting)
            answer = await self._stub.RegisterAgent(
                self._registrations[number], metadata=self._metadata, timeout=120
            )
            self._epochs[number] = answer.epoch

        return await put_load(register, units=len(numbers), in_flight=in_flight)

    def _on_stream(self, stub: discovery_service_pb2_grpc.DiscoveryServiceAsyncStub) -> _Send:
        stream = stub.StreamHeartbeats(metadata=self._metadata)

        async def send(request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
            await stream.write(request)
            answer = await stream.read()
            assert isinstance(answer, pb.HeartbeatResponse)
            return answer

        return send

    async def _by_call(self, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        return await self._stub.Heartbeat(request, metadata=self._metadata, timeout=30)

    async def _beat(
        self, numbers: range, send: _Send, interval: float, latencies: list[float]
    ) -> None:
        request = pb.HeartbeatRequest(
            beats=[
                pb.Beat(agent=f"agents/fleet-{number}", epoch=self._epochs[number])
                for number in numbers
            ]
        )
        await asyncio.sleep(random.uniform(0, interval))  # noqa: S311
        while True:
            begin = time.perf_counter()
            answer = await send(request)
            latencies.append((time.perf_counter() - begin) * 1000)
            self.refused += sum(bool(result.status.code) for result in answer.results)
            await asyncio.sleep(interval * random.uniform(1, 1.1))  # noqa: S311

    def _registration(self, number: int) -> pb.RegisterAgentRequest:
        services = [
            agent_pb2.AgentService(
                service_id=f"service-{position}",
                description="Does one thing of a hundred, and does it well.",
                capabilities=[
                    agent_pb2.AgentCapability(
                        capability=capability((number * SERVICES + position) % CAPABILITIES),
                        description="Takes a text and gives it back in another form.",
                        tags=["text", "form"],
                        version="1.0.0",
                    )
                ],
            )
            for position in range(SERVICES)
        ]
        return pb.RegisterAgentRequest(
            agent_id=f"fleet-{number}",
            agent=agent_pb2.Agent(
                display_name="fleet",
                endpoint=self._endpoint,
                zone=f"zone-{number % 3}",
                services=services,
                capacity=64,
            ),
            incarnation=str(uuid.uuid4()),
        )


def connection(address: str) -> grpc.aio.Channel:
    """A channel with a connection of its own."""
    return grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])


def capability(number: int) -> str:
    """The name of one of the capabilities."""
    return f"bench.form_{number}"
