from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from brikk_agent.structs import Json
from support.agents import CallKeys, ScriptedRegistry, execute, served

PROGRAM = """
import os
from datetime import timedelta
from pathlib import Path
from brikk_agent import Agent

agent = Agent("worker", grace=timedelta(seconds=float(os.environ["GRACE"])))

@agent.capability("work.read")
def read(started: str, pipe: str) -> dict[str, str]:
    Path(started).write_text("")  # somebody waits for it
    return {"text": Path(pipe).read_text()}  # blocks until somebody writes into the pipe

if __name__ == "__main__":
    agent.run()
"""


@dataclass
class Worker:
    """The program above as a process of its own, and what stands around it."""

    process: Process
    registry: ScriptedRegistry
    keys: CallKeys
    folder: Path

    async def call(self) -> asyncio.Task[dict[str, Json]]:
        """Begins a call and waits until its handler is at work."""
        agent = self.registry.registrations[-1].agent
        started, pipe = self.folder / "started", self.folder / "pipe"
        os.mkfifo(started)
        os.mkfifo(pipe)
        opened = asyncio.create_task(asyncio.to_thread(started.read_bytes))
        call = asyncio.create_task(
            execute(
                agent.endpoint,
                "work.read",
                {"started": str(started), "pipe": str(pipe)},
                token=self.keys.token(agent.name),
            )
        )
        await opened
        return call

    async def release(self) -> None:
        """Lets the handler end."""
        await asyncio.to_thread((self.folder / "pipe").write_text, "done")


@asynccontextmanager
async def worker(folder: Path, *, grace: float = 60) -> AsyncIterator[Worker]:
    registry, keys = ScriptedRegistry(), CallKeys(folder)
    program = folder / "worker.py"
    program.write_text(PROGRAM)
    async with served(registry) as address:
        (folder / "client.json").write_text(
            json.dumps({"discovery": address, "token": "t", "call_jwks": str(keys.file)})
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(program),
            env={**os.environ, "BRIKK_HOME": str(folder), "GRACE": str(grace)},
            stderr=PIPE,
        )
        try:
            await registry.until(lambda seen: bool(seen.beats))
            yield Worker(process, registry, keys, folder)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_agent(tmp_path: Path, number: signal.Signals) -> None:
    async with worker(tmp_path) as running:
        call = await running.call()
        running.process.send_signal(number)
        await running.registry.until(lambda seen: bool(seen.departures))
        assert running.registry.beats[-1].draining
        assert not call.done()
        await running.release()
        assert await call == {"text": "done"}
        assert await running.process.wait() == 0
        endpoint = running.registry.registrations[0].agent.endpoint
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await execute(endpoint, "work.read", {})
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_handler_that_outlasts_the_grace_does_not_keep_the_process(tmp_path: Path) -> None:
    async with worker(tmp_path, grace=0.05) as running:
        call = await running.call()
        running.process.terminate()
        assert await running.process.wait() == 1
        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    async with worker(tmp_path) as running:
        call = await running.call()
        running.process.terminate()
        await running.registry.until(lambda seen: bool(seen.departures))
        running.process.terminate()
        assert await running.process.wait() == -signal.SIGTERM
        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def test_an_agent_without_a_suite_says_what_to_do(tmp_path: Path) -> None:
    program = tmp_path / "worker.py"
    program.write_text(PROGRAM)
    unset = {"BRIKK_DISCOVERY_ADDRESS", "BRIKK_TOKEN"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        env={key: value for key, value in os.environ.items() if key not in unset}
        | {"BRIKK_HOME": str(tmp_path), "GRACE": "1"},
        stderr=PIPE,
    )
    _, stderr = await process.communicate()
    assert process.returncode == 1
    assert stderr.decode().startswith("worker cannot run: No Brikk suite is known")
    assert "Traceback" not in stderr.decode()
