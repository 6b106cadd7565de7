"""What tests of agents need: a scripted registry, tokens for calls, and a caller."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.agent.v1.agent_runtime_service_pb2_grpc import AgentRuntimeServiceStub
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_agent import Connection
from brikk_agent.structs import Json, from_struct, to_struct
from brikk_shared.signing import TokenSigner, create_signing_key

Context = grpc.aio.ServicerContext[Any, Any]


class ScriptedRegistry:
    """A registry that does what a test says, at intervals short enough to wait for."""

    def __init__(self) -> None:
        self.registrations: list[pb.RegisterAgentRequest] = []
        self.beats: list[pb.Beat] = []
        self.heartbeats: list[pb.HeartbeatRequest] = []
        """The messages in which those beats came."""
        self.streams = 0
        """How often one was opened for them."""
        self.finished = 0
        """How many of them the agents ended in good order."""
        self.streaming = True
        """False is what registries were before there were such streams."""
        self.departures: list[pb.DeregisterAgentRequest] = []
        self.authorizations: set[str] = set()
        self.lost: set[str] = set()
        """Agents whose leases are gone when they beat next."""
        self.interval = timedelta(milliseconds=10)
        self.refusal: grpc.StatusCode | None = None
        self._changed = asyncio.Condition()

    async def until(self, condition: Callable[[ScriptedRegistry], bool]) -> None:
        """Waits until something that agents did makes the condition true."""
        async with self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def _note(self, context: Context) -> None:
        metadata = dict(context.invocation_metadata() or ())
        self.authorizations.add(str(metadata.get("authorization", "")))
        async with self._changed:
            self._changed.notify_all()
        if self.refusal is not None:
            await context.abort(self.refusal, "as the test says")

    async def RegisterAgent(
        self, request: pb.RegisterAgentRequest, context: Context
    ) -> pb.RegisterAgentResponse:
        self.registrations.append(request)
        await self._note(context)
        answer = pb.RegisterAgentResponse(agent=request.agent, epoch=len(self.registrations))
        answer.heartbeat_interval.FromTimedelta(self.interval)
        answer.lease_duration.FromTimedelta(timedelta(seconds=40))
        return answer

    async def Heartbeat(
        self, request: pb.HeartbeatRequest, context: Context
    ) -> pb.HeartbeatResponse:
        self.beats.extend(request.beats)
        self.heartbeats.append(request)
        await self._note(context)
        answer = pb.HeartbeatResponse(results=[self._judge(beat) for beat in request.beats])
        answer.heartbeat_interval.FromTimedelta(self.interval)
        return answer

    async def StreamHeartbeats(
        self, requests: AsyncIterator[pb.HeartbeatRequest], context: Context
    ) -> AsyncIterator[pb.HeartbeatResponse]:
        self.streams += 1
        if not self.streaming:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        async for request in requests:
            yield await self.Heartbeat(request, context)
        self.finished += 1
        async with self._changed:
            self._changed.notify_all()

    def _judge(self, beat: pb.Beat) -> pb.BeatResult:
        status = status_pb2.Status()
        if beat.agent in self.lost:
            self.lost.remove(beat.agent)
            status.code = code_pb2.NOT_FOUND
        return pb.BeatResult(agent=beat.agent, status=status)

    async def DeregisterAgent(
        self, request: pb.DeregisterAgentRequest, context: Context
    ) -> pb.DeregisterAgentResponse:
        self.departures.append(request)
        await self._note(context)
        return pb.DeregisterAgentResponse()


@asynccontextmanager
async def served(registry: ScriptedRegistry, port: int = 0) -> AsyncIterator[str]:
    """Serves a registry on loopback, with the methods that agents call, and gives its address."""
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(registry, name),
            request_deserializer=request.FromString,
            response_serializer=response.SerializeToString,
        )
        for name, request, response in (
            ("RegisterAgent", pb.RegisterAgentRequest, pb.RegisterAgentResponse),
            ("Heartbeat", pb.HeartbeatRequest, pb.HeartbeatResponse),
            ("DeregisterAgent", pb.DeregisterAgentRequest, pb.DeregisterAgentResponse),
        )
    }
    methods["StreamHeartbeats"] = grpc.stream_stream_rpc_method_handler(
        registry.StreamHeartbeats,
        request_deserializer=pb.HeartbeatRequest.FromString,
        response_serializer=pb.HeartbeatResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("brikk.discovery.v1.DiscoveryService", methods),)
    )
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(None)


class CallKeys:
    """The key that calls to agents are signed with, and its public half in a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "calls.jwks.json"
        self.rotate()

    def rotate(self) -> None:
        """Makes another key the only one."""
        number = len(list(self._folder.glob("calls-*.json")))
        self.signer: TokenSigner = create_signing_key(
            self._folder / f"calls-{number}.json", "https://services.test.brikk.dev"
        )
        self.file.write_text(json.dumps(self.signer.jwks()))

    def token(self, agent: str, lifetime: timedelta = timedelta(minutes=5)) -> str:
        """A token that may call the agent (`agents/x`)."""
        return self.signer.mint(
            subject="services/workflow", scopes=(), audience=agent, lifetime=lifetime
        )


def connection_to(address: str, keys: CallKeys | None = None) -> Connection:
    """Says where the registry is, and whose calls to accept."""
    return Connection(
        addresses={"discovery": address},
        token="agent-token",
        call_jwks=str(keys.file) if keys else "",
    )


async def execute(
    endpoint: str,
    capability: str,
    given: Mapping[str, object],
    *,
    token: str = "",
    timeout: float | None = 30.0,
    attempt: int = 1,
) -> dict[str, Json]:
    """Calls an agent as the workflow service does; raises AioRpcError."""
    request = agent_pb.ExecuteRequest(
        capability=capability,
        input=to_struct(given, name="input"),
        execution="executions/e1",
        step="step",
        attempt=attempt,
        idempotency_key="key",
    )
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    async with grpc.aio.insecure_channel(endpoint) as channel:
        answer = await AgentRuntimeServiceStub(channel).Execute(
            request, timeout=timeout, metadata=metadata
        )
        return from_struct(answer.output)


def error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """What the agent said about its failure."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info
