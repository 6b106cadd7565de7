"""What this service asks of discovery, each time on behalf of an organisation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from datetime import timedelta
from typing import Protocol

import grpc

from brikk.discovery.v1 import agent_pb2, discovery_service_pb2, discovery_service_pb2_grpc
from brikk_shared.errors import DeadlineExceeded, Reason
from brikk_shared.metadata import ORGANIZATION_KEY
from brikk_shared.status import from_rpc_error

MAX_CANDIDATES = 100
RESOLVE_TIMEOUT = timedelta(seconds=2)
REPORT_TIMEOUT = timedelta(seconds=5)
STREAM_LIFE = timedelta(minutes=5)
"""No stream outlives the token that it began with; it is resumed with another."""
SILENCE = timedelta(seconds=30)
"""A stream that says nothing for so long, not even that nothing changed, is dead."""


class Discovery(Protocol):
    """Discovery as callers of agents need it. Whatever it does not answer raises BrikkError."""

    async def resolve(
        self, organization: str, capability: str
    ) -> discovery_service_pb2.ResolveCapabilityResponse:
        """Returns who offers a capability, at most `MAX_CANDIDATES`, with their contracts."""

    def watch(
        self, organization: str, capabilities: Collection[str], resume_token: str
    ) -> AsyncGenerator[discovery_service_pb2.WatchCapabilitiesResponse, None]:
        """Streams who offers some capabilities, until the stream breaks or has had its life."""

    async def report(
        self, organization: str, outcomes: Sequence[discovery_service_pb2.Outcome]
    ) -> None:
        """Tells what became of calls."""


class DiscoveryClient:
    """The discovery service at the other end of a channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = discovery_service_pb2_grpc.DiscoveryServiceStub(channel)

    async def resolve(
        self, organization: str, capability: str
    ) -> discovery_service_pb2.ResolveCapabilityResponse:
        """Returns who offers a capability, at most `MAX_CANDIDATES`, with their contracts."""
        request = discovery_service_pb2.ResolveCapabilityRequest(
            capability=capability,
            max_results=MAX_CANDIDATES,
            protocol=agent_pb2.PROTOCOL_BRIKK,
            with_contracts=True,
        )
        try:
            return await self._stub.ResolveCapability(
                request,
                timeout=RESOLVE_TIMEOUT.total_seconds(),
                metadata=((ORGANIZATION_KEY, organization),),
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def watch(
        self, organization: str, capabilities: Collection[str], resume_token: str
    ) -> AsyncGenerator[discovery_service_pb2.WatchCapabilitiesResponse, None]:
        """Streams who offers some capabilities, until the stream breaks or has had its life."""
        call = self._stub.WatchCapabilities(
            discovery_service_pb2.WatchCapabilitiesRequest(
                capabilities=sorted(capabilities), resume_token=resume_token
            ),
            timeout=STREAM_LIFE.total_seconds(),
            metadata=((ORGANIZATION_KEY, organization),),
        )
        messages = aiter(call)
        try:
            while True:
                async with asyncio.timeout(SILENCE.total_seconds()):
                    message = await anext(messages, None)
                if message is None:
                    return
                yield message
        except TimeoutError as error:
            raise DeadlineExceeded(
                Reason.DEADLINE_EXCEEDED, "the watch of discovery fell silent"
            ) from error
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    async def report(
        self, organization: str, outcomes: Sequence[discovery_service_pb2.Outcome]
    ) -> None:
        """Tells what became of calls."""
        try:
            await self._stub.ReportOutcomes(
                discovery_service_pb2.ReportOutcomesRequest(outcomes=outcomes),
                timeout=REPORT_TIMEOUT.total_seconds(),
                metadata=((ORGANIZATION_KEY, organization),),
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
