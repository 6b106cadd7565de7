"""Services as users start them: processes, which may be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ServiceProcess:
    """A service that serves: its addresses and the lines that it has logged so far."""

    process: Process
    address: str
    http_address: str
    log: Sequence[str]

    async def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """Ends it in good order and gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


@asynccontextmanager
async def service_process(
    service: str, settings: Mapping[str, object]
) -> AsyncIterator[ServiceProcess]:
    """Starts `brikk_<service>` on free ports, waits until it serves; it is dead at the end.

    A setting that is neither text nor None is written as JSON.
    """
    given = {"listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0", **settings}
    environment = {
        f"BRIKK_{service}_{name}".upper(): value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
        if value is not None
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"brikk_{service}.app"),
        env={**os.environ, **environment},
        stderr=PIPE,
    )
    serving: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    log: list[str] = []
    reading = asyncio.create_task(_read_log(service, process, serving, log))
    try:
        addresses = await asyncio.wait_for(serving, 60)
        yield ServiceProcess(
            process=process,
            address=addresses["grpc"],
            http_address=addresses["http"],
            log=log,
        )
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _read_log(
    service: str, process: Process, serving: asyncio.Future[dict[str, str]], lines: list[str]
) -> None:
    """Finds the addresses in the log, and reads on, so that the process never waits for us."""
    assert process.stderr is not None
    async for line in process.stderr:
        lines.append(line.decode())
        if not serving.done() and '"event": "serving"' in lines[-1]:
            serving.set_result(json.loads(lines[-1]))
    if not serving.done():
        serving.set_exception(AssertionError(f"{service} did not start: {''.join(lines)}"))
