"""The registry as the agents of one process see it: they beat at the same moments, together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from random import Random, SystemRandom

import grpc

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from brikk_agent.connection import Connection
from brikk_agent.heartbeats import Heartbeats

_RPC_TIMEOUT_SECONDS = 5.0
_CLOSE_SECONDS = 1.0
_BEAT_JITTER = 0.1
_SHORTEST_INTERVAL = timedelta(milliseconds=10)
# As many as the contract allows.
_MOST_BEATS = 500


def beat_delay(dictated: timedelta, random: Random) -> timedelta:
    """The wait before the next heartbeat: what the registry dictates and up to 10 % more."""
    return max(dictated, _SHORTEST_INTERVAL) * (1 + random.uniform(0, _BEAT_JITTER))


class Registry:
    """A way to the registry, for the agents of an event loop that show it the same token.

    Heartbeats of one moment are one message, which costs both sides little more than one of them.
    All go on one stream, or, to a registry that has no streams for them, in calls. What is not
    answered in some seconds is given up; what fails is raised as AioRpcError.

    Raises NotConnected when the address or the token is not known.
    """

    def __init__(self, connection: Connection) -> None:
        self._channel = connection.channel("discovery")
        self._stub = DiscoveryServiceStub(self._channel)
        self._heartbeats = Heartbeats(
            partial(self._stub.StreamHeartbeats, metadata=connection.metadata)
        )
        self._streaming = True
        self._random = SystemRandom()
        self._beats: list[pb.Beat] = []
        self._call: asyncio.Task[pb.HeartbeatResponse] | None = None
        self._next_beat = 0.0
        self.users = 0

    async def register(self, request: pb.RegisterAgentRequest) -> pb.RegisterAgentResponse:
        """Registers an agent, or replaces what it had registered."""
        return await self._stub.RegisterAgent(request, timeout=_RPC_TIMEOUT_SECONDS)

    async def deregister(self, agent: str, epoch: int) -> None:
        """Ends a registration."""
        request = pb.DeregisterAgentRequest(agent=agent, epoch=epoch)
        await self._stub.DeregisterAgent(request, timeout=_RPC_TIMEOUT_SECONDS)

    async def beat(self, beat: pb.Beat) -> tuple[pb.BeatResult, timedelta]:
        """Beats, together with whoever does so now; gives the answer, and the dictated interval."""
        if self._call is None or len(self._beats) == _MOST_BEATS:
            self._beats = []
            self._call = asyncio.create_task(self._send(self._beats))
        call, place = self._call, len(self._beats)
        self._beats.append(beat)
        # Who gives up does not take the others with it.
        answer = await asyncio.shield(call)
        return answer.results[place], answer.heartbeat_interval.ToTimedelta()

    def next_beat(self, interval: timedelta) -> float:
        """When to beat next, by the event loop's time: all who ask before then are told the same.

        That is too late for who was dictated a shorter interval than the others: it is told, and
        they will be, another moment.
        """
        now = asyncio.get_running_loop().time()
        latest = now + max(interval, _SHORTEST_INTERVAL).total_seconds() * (1 + _BEAT_JITTER)
        if not now < self._next_beat <= latest:
            self._next_beat = now + beat_delay(interval, self._random).total_seconds()
        return self._next_beat

    async def close(self) -> None:
        """Ends the stream and the calls under way."""
        await self._heartbeats.finish()
        await self._channel.close(_CLOSE_SECONDS)

    async def _send(self, beats: list[pb.Beat]) -> pb.HeartbeatResponse:
        # Begun by the first to beat, this runs when all who awoke with it have beaten.
        if beats is self._beats:
            self._call = None
        request = pb.HeartbeatRequest(beats=beats)
        if self._streaming:
            try:
                return await self._heartbeats.send(request)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    raise
                self._streaming = False  # it is older than these streams
        return await self._stub.Heartbeat(request, timeout=_RPC_TIMEOUT_SECONDS)


@asynccontextmanager
async def registry_at(connection: Connection) -> AsyncIterator[Registry]:
    """Gives the way that others who are on it use; it is closed when the last of them leaves.

    Raises NotConnected when the address or the token is not known.
    """
    place = asyncio.get_running_loop(), connection.address("discovery"), connection.token
    registry = _registries.get(place)
    if registry is None:
        registry = _registries[place] = Registry(connection)
    registry.users += 1
    try:
        yield registry
    finally:
        registry.users -= 1
        if not registry.users:
            del _registries[place]
            await registry.close()


_registries: dict[tuple[asyncio.AbstractEventLoop, str, str], Registry] = {}
