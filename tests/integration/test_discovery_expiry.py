"""Agents that fall silent are suspected, then removed; those that could not be heard are not."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

from brikk.discovery.v1 import agent_pb2
from brikk_shared.errors import Reason
from brikk_shared.testing import Tokens
from support.discovery import Caller, Discovery, serving, until
from support.refusals import refused
from support.sweeps import SweepClock

READY, SUSPECT = agent_pb2.Agent.STATE_READY, agent_pb2.Agent.STATE_SUSPECT


def swept(
    database_url: str, tokens: Tokens, clock: SweepClock
) -> AbstractAsyncContextManager[Discovery]:
    return serving(database_url, tokens, clock=clock, sweep_interval=clock.INTERVAL)


async def states(caller: Caller) -> dict[str, agent_pb2.Agent.State.ValueType]:
    page = await caller.page(500)
    return {item.name.removeprefix("agents/"): item.state for item in page.agents}


async def test_the_silent_are_suspected_and_then_removed(sqlite_url: str, tmp_path: Path) -> None:
    clock = SweepClock()
    async with swept(sqlite_url, Tokens(tmp_path, clock=clock), clock) as discovery:
        caller = discovery.caller()
        silent = await caller.register("silent")
        living = await caller.register("living")
        seen: list[agent_pb2.Agent.State.ValueType | None] = []
        for second in range(60):
            if second % 10 == 9:
                assert await caller.beat("living", living.epoch) is None
            await clock.pass_seconds(1)
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
    clock = SweepClock()
    async with swept(sqlite_url, Tokens(tmp_path, clock=clock), clock) as discovery:
        caller = discovery.caller()
        living = await caller.register("living")
        await caller.register("dead")
        await clock.pass_seconds(5)
        clock.advance(timedelta(minutes=10))
        await clock.pass_seconds(30)
        assert await states(caller) == {"living": SUSPECT, "dead": SUSPECT}
        assert await caller.beat("living", living.epoch) is None
        await clock.pass_seconds(15)
        assert await states(caller) == {"living": READY}


async def test_restarts_give_grace_but_not_for_ever(sqlite_url: str, tmp_path: Path) -> None:
    clock = SweepClock()
    tokens = Tokens(tmp_path, clock=clock)
    async with swept(sqlite_url, tokens, clock) as discovery:
        living = await discovery.caller().register("living")
        await discovery.caller().register("dead")
    for restart in range(4):
        clock.advance(timedelta(minutes=10))
        async with swept(sqlite_url, tokens, clock) as discovery:
            caller = discovery.caller()
            await clock.pass_seconds(1)
            expected = {"living", "dead"} if restart < 2 else {"living"}
            assert set(await states(caller)) == expected
            assert await caller.beat("living", living.epoch) is None
            await clock.pass_seconds(2)


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
        assert (await refused(caller.get("dead"))).reason is Reason.RESOURCE_NOT_FOUND
        assert await caller.beat("living", living.epoch) is None


async def test_a_clock_that_jumps_makes_nobody_expire(database_url: str, tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    clock = SweepClock()
    async with swept(database_url, Tokens(tmp_path, clock=clock), clock) as discovery:
        caller = discovery.caller()
        living = await caller.register("living")
        await caller.register("dead")
        await clock.pass_seconds(5)
        for jump in (hour, -hour, -hour, hour):
            assert await caller.beat("living", living.epoch) is None
            await clock.pass_seconds(2)
            clock.jump(jump)
            caller = discovery.caller()  # the token before is of another time
            await clock.pass_seconds(3)
            assert await states(caller) == {"living": READY, "dead": READY}


async def test_a_clock_that_was_set_back_keeps_no_dead(sqlite_url: str, tmp_path: Path) -> None:
    clock = SweepClock()
    async with swept(sqlite_url, Tokens(tmp_path, clock=clock), clock) as discovery:
        caller = discovery.caller()
        await caller.register("dead")
        await clock.pass_seconds(5)
        clock.jump(-timedelta(hours=1))
        await clock.pass_seconds(45)
        assert await states(discovery.caller()) == {}
