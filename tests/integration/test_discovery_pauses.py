"""A registry that stands still, and agents that are killed: who is taken for dead is."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import grpc
import pytest

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.testing import Tokens
from support.discovery import Caller, until
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
    session = await asyncpg.connect(database_url)
    try:
        row = await session.fetchrow("SELECT owner, epoch FROM lease WHERE name = 'expiry'")
    finally:
        await session.close()
    assert row is not None
    return row["owner"], row["epoch"]


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
