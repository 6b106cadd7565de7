"""Discovery as users start it: a process, which may be killed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from brikk.discovery.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from brikk_shared.testing import Tokens, bearer
from support.discovery import SCOPES, Caller
from support.loopback import LOOPBACK


@dataclass(frozen=True, kw_only=True)
class DiscoveryProcess:
    """A running process, and a caller of it."""

    process: Process
    caller: Caller

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def started(
    database_url: str, tokens: Tokens, **knobs: str
) -> AsyncIterator[DiscoveryProcess]:
    """Start the process, wait until it serves, and end it in whatever state it is."""
    settings = {
        "listen": "127.0.0.1:0",
        "http_listen": "127.0.0.1:0",
        "database_url": database_url,
        "issuers": json.dumps([issuer.model_dump() for issuer in tokens.issuers]),
        "service_key": str(tokens.service_key),
        "egress_allowed": json.dumps(LOOPBACK),
        # The agents of most tests serve nowhere: one probe that fails proves nothing.
        "probe_interval": "1h",
        **knobs,
    }
    environment = {f"BRIKK_DISCOVERY_{name.upper()}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "brikk_discovery.app"),
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    serving = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(_read_log(process, serving))
    try:
        address = await asyncio.wait_for(serving, 60)
        async with grpc.aio.insecure_channel(address) as channel:
            caller = Caller(
                stub=DiscoveryServiceStub(channel), metadata=bearer(tokens.user("acme", *SCOPES))
            )
            yield DiscoveryProcess(process=process, caller=caller)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _read_log(process: Process, serving: asyncio.Future[str]) -> None:
    """Find the address in the log, and read on, so that the process never waits for us."""
    assert process.stderr is not None
    lines: list[str] = []
    async for line in process.stderr:
        lines.append(line.decode())
        if not serving.done() and '"event": "serving"' in lines[-1]:
            serving.set_result(json.loads(lines[-1])["grpc"])
    if not serving.done():
        serving.set_exception(AssertionError(f"discovery did not start: {''.join(lines)}"))
