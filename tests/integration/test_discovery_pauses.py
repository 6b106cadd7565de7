"""A registry that stands still, and agents that are killed: who is taken for dead is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.testing import Tokens
from support.agents import CallKeys
from support.behind import lapse, run
from support.discovery import Caller, serving, until
from support.discovery_process import DiscoveryProcess, started

PROGRAM = """
from brikk_agent import Agent

agent = Agent("worker")

@agent.capability("work.do")
def do() -> dict[str, str]:
    return {}

if __name__ == "__main__":
    agent.run()
"""
QUICK: dict[str, Any] = {
    "heartbeat_interval": "500ms",
    "suspect_after": "1500ms",
    "expire_after": "3s",
    "checkpoint_interval": "100ms",
    "sweep_interval": "100ms",
}


@asynccontextmanager
async def paused(discovery: DiscoveryProcess) -> AsyncIterator[None]:
    """Stop a process as a hypervisor does, and let it go on."""
    discovery.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        discovery.process.send_signal(signal.SIGCONT)


async def live(caller: Caller) -> set[str]:
    return {item.name.removeprefix("agents/") for item in (await caller.page()).agents}


async def holder(database_url: str) -> tuple[str, int]:
    """Who may sweep, and its epoch."""
    rows = await run(database_url, "SELECT owner, epoch FROM lease WHERE name = 'expiry'")
    owner, epoch = rows[0]
    return owner, epoch


async def test_a_sweep_under_a_lease_that_another_took_changes_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(
        database_url, Tokens(tmp_path), sweep_interval="50ms", checkpoint_interval="50ms"
    ) as discovery:
        await discovery.swept()
        caller = discovery.caller()
        await caller.register("silent")

        async def suspected() -> bool:
            return (await caller.get("silent")).state == agent_pb2.Agent.STATE_SUSPECT

        await lapse(database_url, timedelta(seconds=26))
        await until(suspected)
        revision = (await caller.get("silent")).revision
        _, epoch = await holder(database_url)
        end = int(time.time() * 1_000_000) + 1_500_000
        await run(
            database_url,
            f"UPDATE lease SET owner = 'another', epoch = epoch + 1, expires_at = {end}"
            " WHERE name = 'expiry'",
        )
        await lapse(database_url, timedelta(seconds=30))

        async def taken_back() -> bool:
            return (await holder(database_url))[1] == epoch + 2

        await until(taken_back)
        # For all that time its lease was over; now it is granted time, as by every new sweeper.
        kept = await caller.get("silent")
        assert kept.revision == revision


async def test_a_paused_registry_expires_nobody_who_could_not_be_heard(
    database_url: str, tmp_path: Path
) -> None:
    async with started(database_url, Tokens(tmp_path), **QUICK) as discovery:
        caller = discovery.caller
        living = await caller.register("living")
        await caller.register("dead")
        assert await caller.beat("living", living.epoch) is None
        async with paused(discovery):
            # Longer than a lease lasts: the heartbeat waits, and finds nobody.
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await caller.stub.GetAgent(
                    pb.GetAgentRequest(name="agents/living"), metadata=caller.metadata, timeout=4
                )
            assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await caller.beat("living", living.epoch) is None

        async def dead_left() -> bool:
            assert await caller.beat("living", living.epoch) is None
            return await live(caller) == {"living"}

        await until(dead_left)


async def test_a_killed_agent_leaves_resolution(database_url: str, tmp_path: Path) -> None:
    program = tmp_path / "agent.py"
    program.write_text(PROGRAM)
    # The default probes: it answers them, until it is dead.
    async with serving(database_url, Tokens(tmp_path), probe_interval="5s", **QUICK) as discovery:
        caller = discovery.caller()
        connection = {
            "discovery": discovery.address,
            "token": discovery.tokens.user("acme", "agent"),
            "call_jwks": str(CallKeys(tmp_path).file),
        }
        (tmp_path / "client.json").write_text(json.dumps(connection))
        agent = await asyncio.create_subprocess_exec(
            *(sys.executable, str(program)), env={**os.environ, "BRIKK_HOME": str(tmp_path)}
        )
        try:

            async def there() -> bool:
                return bool(await caller.resolve("work.do"))

            await until(there)
        finally:
            agent.kill()
            await agent.wait()
        killed = time.monotonic()

        async def gone() -> bool:
            return not await caller.resolve("work.do")

        await until(gone)
        # A promised deadline: its lease of 3 s and another 4, three times over.
        assert time.monotonic() - killed < 3 * 7
