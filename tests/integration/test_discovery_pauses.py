"""A registry that stands still, and agents that are killed: who is taken for dead is."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from brikk.discovery.v1 import agent_pb2
from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.testing import Tokens
from support.behind import lapse, run
from support.discovery import Caller, serving, until
from support.discovery_process import DiscoveryProcess, started

QUICK = {
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


async def test_a_paused_sweeper_takes_nobody_of_those_whom_its_successor_heard(
    postgres_url: str, tmp_path: Path
) -> None:
    tokens = Tokens(tmp_path)
    async with started(postgres_url, tokens, **QUICK) as first:
        await first.caller.register("probe-of-the-lease")

        async def swept() -> bool:
            return "probe-of-the-lease" not in await live(first.caller)

        await until(swept)
        old = await holder(postgres_url)
        async with started(postgres_url, tokens, **QUICK) as second:
            caller = second.caller
            living = await caller.register("living")
            await caller.register("dead")

            async def known() -> bool:
                return await live(first.caller) == {"living", "dead"}

            await until(known)
            async with paused(first):

                async def succeeded() -> bool:
                    assert await caller.beat("living", living.epoch) is None
                    owner, epoch = await holder(postgres_url)
                    return owner != old[0] and epoch > old[1] and "dead" not in await live(caller)

                await until(succeeded)
            # It goes on where it stood: in its memory all of them are silent by now.
            for _ in range(20):
                assert await caller.beat("living", living.epoch) is None
                assert "living" in await live(first.caller)
                assert "living" in await live(caller)

            async def learned() -> bool:
                assert await caller.beat("living", living.epoch) is None
                return await live(first.caller) == {"living"}

            await until(learned)
            assert await live(caller) == {"living"}


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
