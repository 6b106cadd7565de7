"""Discovery as users start it: a process, which may be killed."""

from __future__ import annotations

from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from brikk_shared.testing import Tokens, bearer
from support.discovery import SCOPES, Caller
from support.loopback import LOOPBACK
from support.processes import ServiceProcess, service_process


@dataclass(frozen=True, kw_only=True)
class DiscoveryProcess:
    """A running process, and a caller of it."""

    service: ServiceProcess
    caller: Caller

    @property
    def process(self) -> Process:
        """The process itself."""
        return self.service.process

    async def kill(self) -> None:
        """End it as a power cut would."""
        await self.service.kill()


@asynccontextmanager
async def started(
    database_url: str, tokens: Tokens, **knobs: str
) -> AsyncIterator[DiscoveryProcess]:
    """Start the process, wait until it serves, and end it in whatever state it is."""
    settings = {
        "database_url": database_url,
        "issuers": [issuer.model_dump() for issuer in tokens.issuers],
        "service_key": str(tokens.service_key),
        "egress_allowed": LOOPBACK,
        # The agents of most tests serve nowhere: one probe that fails proves nothing.
        "probe_interval": "1h",
        **knobs,
    }
    async with (
        service_process("discovery", settings) as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        caller = Caller(
            stub=DiscoveryServiceStub(channel), metadata=bearer(tokens.user("acme", *SCOPES))
        )
        yield DiscoveryProcess(service=service, caller=caller)
