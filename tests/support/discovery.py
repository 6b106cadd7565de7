"""The discovery service in this process, and what tests ask of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import grpc
from prometheus_client.parser import text_string_to_metric_families

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from brikk_discovery.app import build
from brikk_discovery.settings import DiscoverySettings
from brikk_shared.application import running
from brikk_shared.clock import Clock
from brikk_shared.errors import BrikkError
from brikk_shared.status import from_status
from brikk_shared.testing import Tokens, bearer
from support.loopback import LOOPBACK

if TYPE_CHECKING:
    from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceAsyncStub

SCOPES = ("agent", "agent.read", "agent.report", "agent.admin")
TIMEOUT = 20.0


def agent(
    *capabilities: str, capacity: int = 0, endpoint: str = "127.0.0.1:9000"
) -> agent_pb2.Agent:
    """An agent with one service."""
    service = agent_pb2.AgentService(
        service_id="main",
        capabilities=[agent_pb2.AgentCapability(capability=name) for name in capabilities],
    )
    return agent_pb2.Agent(endpoint=endpoint, capacity=capacity, services=[service])


def registration(
    agent_id: str, message: agent_pb2.Agent, incarnation: str = ""
) -> pb.RegisterAgentRequest:
    """A request to register; each has an incarnation of its own unless one is given."""
    return pb.RegisterAgentRequest(
        agent_id=agent_id, agent=message, incarnation=incarnation or str(uuid.uuid4())
    )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds that only asking tells, which must be within half a minute."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - what is waited for is behind a socket
            await asyncio.sleep(0.02)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Calls discovery with one token."""

    stub: DiscoveryServiceAsyncStub
    metadata: tuple[tuple[str, str], ...]

    async def register(
        self, agent_id: str, *capabilities: str, incarnation: str = "", capacity: int = 0
    ) -> pb.RegisterAgentResponse:
        message = agent(*(capabilities or ("text.write",)), capacity=capacity)
        return await self.send(registration(agent_id, message, incarnation))

    async def send(self, request: pb.RegisterAgentRequest) -> pb.RegisterAgentResponse:
        return await self.stub.RegisterAgent(request, metadata=self.metadata, timeout=TIMEOUT)

    async def beat(
        self, agent_id: str, epoch: int, *, in_flight: int = 0, draining: bool = False
    ) -> BrikkError | None:
        """Send one heartbeat; the error when the lease is gone."""
        answer = await self.beats(
            pb.Beat(agent=f"agents/{agent_id}", epoch=epoch, in_flight=in_flight, draining=draining)
        )
        status = answer.results[0].status
        return from_status(status) if status.code else None

    async def beats(self, *beats: pb.Beat) -> pb.HeartbeatResponse:
        request = pb.HeartbeatRequest(beats=beats)
        return await self.stub.Heartbeat(request, metadata=self.metadata, timeout=TIMEOUT)

    async def deregister(self, agent_id: str, epoch: int) -> pb.DeregisterAgentResponse:
        request = pb.DeregisterAgentRequest(agent=f"agents/{agent_id}", epoch=epoch)
        return await self.stub.DeregisterAgent(request, metadata=self.metadata, timeout=TIMEOUT)

    async def get(self, agent_id: str) -> agent_pb2.Agent:
        request = pb.GetAgentRequest(name=f"agents/{agent_id}")
        return await self.stub.GetAgent(request, metadata=self.metadata, timeout=TIMEOUT)

    async def page(
        self, size: int = 0, token: str = "", capability: str = ""
    ) -> pb.ListAgentsResponse:
        request = pb.ListAgentsRequest(page_size=size, page_token=token, capability=capability)
        return await self.stub.ListAgents(request, metadata=self.metadata, timeout=TIMEOUT)

    async def candidates(
        self, capability: str = "text.write", *, most: int = 0, without: tuple[str, ...] = ()
    ) -> list[pb.Candidate]:
        request = pb.ResolveCapabilityRequest(
            capability=capability,
            max_results=most,
            excluded_agents=[f"agents/{agent_id}" for agent_id in without],
        )
        answer = await self.stub.ResolveCapability(request, metadata=self.metadata, timeout=TIMEOUT)
        return list(answer.candidates)

    async def resolve(
        self, capability: str = "text.write", *, without: tuple[str, ...] = ()
    ) -> list[str]:
        """The ids of those who offer a capability, best first."""
        found = await self.candidates(capability, without=without)
        return [candidate.agent.removeprefix("agents/") for candidate in found]


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """A discovery service that serves."""

    stub: DiscoveryServiceAsyncStub
    channel: grpc.aio.Channel
    address: str
    tokens: Tokens
    http_address: str

    def caller(self, organization: str = "acme", *scopes: str) -> Caller:
        token = self.tokens.user(organization, *(scopes or SCOPES))
        return Caller(stub=self.stub, metadata=bearer(token))

    async def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by its name and label values."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self.http_address}/metrics") as answer,
        ):
            families = text_string_to_metric_families(await answer.text())
            return {
                " ".join([sample.name, *sample.labels.values()]): sample.value
                for family in families
                for sample in family.samples
            }

    async def swept(self) -> None:
        """Wait for a sweep: the first one grants time to whoever may have beaten in vain before."""

        async def has_swept() -> bool:
            return (await self.metrics())["brikk_discovery_sweeps_total"] > 0

        await until(has_swept)


@asynccontextmanager
async def serving(
    database_url: str, tokens: Tokens, *, clock: Clock | None = None, **knobs: object
) -> AsyncIterator[Discovery]:
    """Run discovery on a database."""
    settings = DiscoverySettings.model_validate(
        {
            "listen": "127.0.0.1:0",
            "http_listen": "127.0.0.1:0",
            "database_url": database_url,
            "issuers": tokens.issuers,
            "service_key": tokens.service_key,
            "egress_allowed": LOOPBACK,
            "drain_grace": "2s",
            # The agents of most tests serve nowhere: one probe that fails proves nothing.
            "probe_interval": "1h",
            **knobs,
        }
    )
    async with (
        running(settings, build, clock=clock) as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        yield Discovery(
            stub=DiscoveryServiceStub(channel),
            channel=channel,
            address=service.address,
            tokens=tokens,
            http_address=service.http_address,
        )
