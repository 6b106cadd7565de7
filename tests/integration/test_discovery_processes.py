"""The registry survives the process that keeps it: killed, restarted, stopped."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import asyncpg

from brikk_shared.testing import Tokens
from support.discovery import until
from support.discovery_process import DiscoveryProcess, started
from support.refusals import refused

ONE = "11111111-1111-4111-8111-111111111111"
QUICK = {
    "heartbeat_interval": "500ms",
    "suspect_after": "1.5s",
    "expire_after": "3s",
    "checkpoint_interval": "100ms",
    "sweep_interval": "100ms",
}


async def let_leases_end(database_url: str) -> None:
    """Do to the store of a stopped registry what an hour of time does."""
    hour = 3_600_000_000
    statement = (
        f"UPDATE agent_lease SET beat_time = beat_time - {hour}, expire_time = expire_time - {hour}"
    )
    if database_url.startswith("sqlite"):
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        with connection:
            connection.execute(statement)
        connection.close()
    else:
        session = await asyncpg.connect(database_url)
        await session.execute(statement)
        await session.close()


async def pause(discovery: DiscoveryProcess, database_url: str) -> None:
    """Stop the process, at a moment at which it has no transaction open.

    With one open it would hold the registry's lock, until the store ends its session.
    """
    session = await asyncpg.connect(database_url)
    while True:
        discovery.process.send_signal(signal.SIGSTOP)
        for _ in range(100):
            # Those of other processes come and go; one of the stopped process would stay.
            if not await session.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
            ):
                await session.close()
                return
        discovery.process.send_signal(signal.SIGCONT)


async def test_a_killed_registry_comes_back_with_everyone(
    database_url: str, tmp_path: Path
) -> None:
    tokens = Tokens(tmp_path)
    async with started(database_url, tokens, **QUICK) as discovery:
        living = await discovery.caller.register("living", incarnation=ONE)
        await discovery.caller.register("dead")
        await discovery.kill()
    await let_leases_end(database_url)
    async with started(database_url, tokens, **QUICK) as discovery:
        caller = discovery.caller
        assert sorted(await caller.resolve()) == ["dead", "living"]

        async def dead_left() -> bool:
            assert await caller.beat("living", living.epoch) is None
            return [item.name for item in (await caller.page()).agents] == ["agents/living"]

        await until(dead_left)
        again = await caller.register("living", incarnation=ONE)
        assert again.epoch == living.epoch
        discovery.process.terminate()
        assert await discovery.process.wait() == 0


async def test_a_registration_is_kept_when_the_answer_is_lost(
    database_url: str, tmp_path: Path
) -> None:
    tokens = Tokens(tmp_path)
    async with started(database_url, tokens, fault="commit.after") as discovery:
        error = await refused(discovery.caller.register("writer", incarnation=ONE))
        assert error.code == "UNAVAILABLE"
        assert await discovery.process.wait() == -9
    async with started(database_url, tokens) as discovery:
        kept = await discovery.caller.get("writer")
        again = await discovery.caller.register("writer", incarnation=ONE)
        assert again.agent.register_time == kept.register_time
        assert await discovery.caller.beat("writer", again.epoch) is None


async def test_a_server_that_stood_still_takes_nothing_from_the_living(
    postgres_url: str, tmp_path: Path
) -> None:
    tokens = Tokens(tmp_path)
    async with (
        started(postgres_url, tokens, **QUICK) as paused,  # it sweeps: it came first
        started(postgres_url, tokens, **QUICK) as awake,
    ):
        living = await paused.caller.register("living", incarnation=ONE)
        await paused.caller.register("dead")
        await pause(paused, postgres_url)

        async def dead_left() -> bool:
            # The other one takes the sweep over, and hears whom the paused one does not.
            assert await awake.caller.beat("living", living.epoch) is None
            return await awake.caller.resolve() == ["living"]

        await until(dead_left)
        paused.process.send_signal(signal.SIGCONT)
        await paused.caller.register("witness")

        async def witness_left() -> bool:
            for each in (paused.caller, awake.caller):
                assert await each.beat("living", living.epoch) is None
            return await paused.caller.resolve() == await awake.caller.resolve() == ["living"]

        await until(witness_left)
        kept = await paused.caller.get("living")
        assert kept.register_time == living.agent.register_time
