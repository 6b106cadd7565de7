"""Agents that fall silent are suspected, then removed; those that could not be heard are not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from brikk.discovery.v1 import agent_pb2
from brikk_shared.errors import Reason
from brikk_shared.testing import ManualClock, Tokens
from support.discovery import Caller, refusal, serving, until

SECOND = timedelta(seconds=1)
# What sleeps while nothing happens: the sweep, and the two who guard its lease.
SLEEPERS = 3
READY, SUSPECT = agent_pb2.Agent.STATE_READY, agent_pb2.Agent.STATE_SUSPECT


async def pass_seconds(clock: ManualClock, seconds: int) -> None:
    """Let time pass at a pace at which every sweep of it takes place."""
    for _ in range(seconds):
        await clock.sleeping(SLEEPERS)
        clock.advance(SECOND)
    await clock.sleeping(SLEEPERS)


async def states(caller: Caller) -> dict[str, agent_pb2.Agent.State.ValueType]:
    page = await caller.page(500)
    return {item.name.removeprefix("agents/"): item.state for item in page.agents}


async def test_the_silent_are_suspected_and_then_removed(sqlite_url: str, tmp_path: Path) -> None:
    clock = ManualClock()
    async with serving(sqlite_url, Tokens(tmp_path, clock=clock), clock=clock) as discovery:
        caller = discovery.caller()
        silent = await caller.register("silent")
        living = await caller.register("living")
        seen: list[agent_pb2.Agent.State.ValueType | None] = []
        for second in range(60):
            if second % 10 == 9:
                assert await caller.beat("living", living.epoch) is None
            await pass_seconds(clock, 1)
            now = await states(caller)
            assert now["living"] == READY
            seen.append(now.get("silent"))
        # Suspected when 25 s and the grace of two checkpoints have passed; removed 15 s later.
        assert seen == [READY] * 27 + [SUSPECT] * 15 + [None] * 18
        assert await caller.resolve() == ["living"]
        refused = await caller.beat("silent", silent.epoch)
        assert refused is not None
        assert refused.reason is Reason.REREGISTER
        assert (await discovery.metrics())["brikk_discovery_expired_total"] == 1


async def test_a_registry_that_stood_still_removes_nobody(sqlite_url: str, tmp_path: Path) -> None:
    clock = ManualClock()
    async with serving(sqlite_url, Tokens(tmp_path, clock=clock), clock=clock) as discovery:
        caller = discovery.caller()
        living = await caller.register("living")
        await caller.register("dead")
        await pass_seconds(clock, 5)
        clock.advance(timedelta(minutes=10))
        await pass_seconds(clock, 30)
        assert await states(caller) == {"living": SUSPECT, "dead": SUSPECT}
        assert await caller.beat("living", living.epoch) is None
        await pass_seconds(clock, 15)
        assert await states(caller) == {"living": READY}


async def test_restarts_give_grace_but_not_for_ever(sqlite_url: str, tmp_path: Path) -> None:
    clock = ManualClock()
    tokens = Tokens(tmp_path, clock=clock)
    async with serving(sqlite_url, tokens, clock=clock) as discovery:
        living = await discovery.caller().register("living")
        await discovery.caller().register("dead")
    for restart in range(4):
        clock.advance(timedelta(minutes=10))
        async with serving(sqlite_url, tokens, clock=clock) as discovery:
            caller = discovery.caller()
            await pass_seconds(clock, 1)
            expected = {"living", "dead"} if restart < 2 else {"living"}
            assert set(await states(caller)) == expected
            assert await caller.beat("living", living.epoch) is None
            await pass_seconds(clock, 2)


async def test_the_dead_leave_and_the_living_stay(database_url: str, tmp_path: Path) -> None:
    async with serving(
        database_url,
        Tokens(tmp_path),
        heartbeat_interval="200ms",
        suspect_after="500ms",
        expire_after="1s",
        checkpoint_interval="100ms",
        sweep_interval="100ms",
    ) as discovery:
        caller = discovery.caller()
        await caller.register("dead")
        living = await caller.register("living")

        async def dead_left() -> bool:
            assert await caller.beat("living", living.epoch) is None
            return set(await states(caller)) == {"living"}

        await until(dead_left)
        assert (await refusal(caller.get("dead"))).reason is Reason.RESOURCE_NOT_FOUND
        assert await caller.beat("living", living.epoch) is None
