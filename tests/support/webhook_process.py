"""The webhooks service as a process of its own, which a test may kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc

from brikk_shared.testing import Tokens
from support.webhooks import Webhooks, settings


class Service:
    """The service as a process of its own."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.logs: list[dict[str, str]] = []
        self._written = asyncio.Condition()

    async def read_logs(self) -> None:
        """Keeps what the process writes until it ends."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._written:
                self.logs.append(json.loads(line))
                self._written.notify_all()

    async def logged(self, event_name: str) -> dict[str, str]:
        """Waits for a log line."""

        def found() -> list[dict[str, str]]:
            return [line for line in self.logs if line["event"] == event_name]

        async with self._written:
            await self._written.wait_for(found)
        return found()[0]

    async def kill(self) -> None:
        """Ends it as kill -9 does."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Ends it as an orchestrator does; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


@asynccontextmanager
async def started(
    database_url: str, folder: Path, tokens: Tokens, **overrides: Any
) -> AsyncIterator[Service]:
    """Run `python -m brikk_webhooks.app`; `overrides` are settings."""
    times = {"request_timeout": timedelta(seconds=3), "claim_lease": timedelta(seconds=4)}
    values = settings(database_url, folder, tokens, **(times | overrides))
    given = json.loads(values.model_dump_json(exclude_unset=True))
    environment = {
        f"BRIKK_WEBHOOKS_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "brikk_webhooks.app", env={**os.environ, **environment}, stderr=PIPE
    )
    service = Service(process)
    reading = asyncio.create_task(service.read_logs())
    try:
        yield service
    finally:
        if process.returncode is None:
            await service.kill()
        await reading


@asynccontextmanager
async def client_of(service: Service, tokens: Tokens) -> AsyncIterator[Webhooks]:
    """Connect to the service as soon as it serves."""
    serving = await service.logged("serving")
    async with grpc.aio.insecure_channel(serving["grpc"]) as channel:
        yield Webhooks(channel, tokens)
