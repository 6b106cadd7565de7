"""Who is suspect and why, as callers see it: the unreachable, those who come and go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from brikk.discovery.v1 import agent_pb2
from brikk_shared.testing import Tokens
from support.behind import lapse, run
from support.discovery import Caller, agent, registration, serving, until
from support.health import answering
from support.sweeps import SECOND, SweepClock

READY, SUSPECT = agent_pb2.Agent.STATE_READY, agent_pb2.Agent.STATE_SUSPECT
ONE = "11111111-1111-4111-8111-111111111111"


async def becomes(
    caller: Caller, agent_id: str, state: agent_pb2.Agent.State.ValueType, reason: str = ""
) -> None:
    async def is_so() -> bool:
        held = await caller.get(agent_id)
        return held.state == state and reason in held.state_reason

    await until(is_so)


async def test_who_beats_but_cannot_be_reached_is_suspect_until_it_can(
    database_url: str, tmp_path: Path
) -> None:
    tokens = Tokens(tmp_path)
    quick: dict[str, Any] = {
        "sweep_interval": "50ms",
        "probe_interval": "100ms",
        "probe_timeout": "100ms",
    }
    async with answering() as endpoint:
        port = int(endpoint.rpartition(":")[2])
    async with serving(database_url, tokens, **quick) as discovery:
        caller = discovery.caller()
        message = agent("text.write", endpoint=endpoint)
        held = await caller.send(registration("deaf", message, ONE))
        await becomes(caller, "deaf", SUSPECT, "does not answer")
        # Its own word does not help.
        assert await caller.beat("deaf", held.epoch) is None
        assert (await caller.get("deaf")).state == SUSPECT
        metrics = await discovery.metrics()
        assert metrics["brikk_discovery_suspected_total unreachable"] == 1
        assert metrics["brikk_discovery_probes_total failed"] >= 3
    # It is a fact that outlasts the process that found it, and so does its end.
    async with serving(database_url, tokens, **quick) as discovery:
        caller = discovery.caller()
        assert (await caller.get("deaf")).state == SUSPECT
        before = (await caller.get("deaf")).revision
        async with answering(port):
            await becomes(caller, "deaf", READY)
        after = await caller.get("deaf")
        assert after.revision > before
        assert (await discovery.metrics())["brikk_discovery_probes_total answered"] >= 2


async def fall(caller: Caller, database_url: str, epoch: int) -> None:
    """Let `shaky` fall silent, and be heard again by the store."""
    await lapse(database_url, 26 * SECOND)
    await becomes(caller, "shaky", SUSPECT, "missing")
    before = (await caller.get("shaky")).revision
    assert await caller.beat("shaky", epoch) is None

    async def is_stored() -> bool:
        return (await caller.get("shaky")).revision > before

    await until(is_stored)


async def test_a_flapping_agent_is_suspect_until_it_stays(
    database_url: str, tmp_path: Path
) -> None:
    quick: dict[str, Any] = {"sweep_interval": "50ms", "checkpoint_interval": "50ms"}
    async with serving(database_url, Tokens(tmp_path), **quick) as discovery:
        await discovery.swept()
        caller = discovery.caller()
        held = await caller.register("shaky")
        for _ in range(5):
            await fall(caller, database_url, held.epoch)
            assert (await caller.get("shaky")).state == READY
        # 26 seconds pass each time: at the sixth it is too much.
        await fall(caller, database_url, held.epoch)
        await becomes(caller, "shaky", SUSPECT, "comes and goes")
        assert await caller.beat("shaky", held.epoch) is None
        assert (await caller.get("shaky")).state == SUSPECT
        await lapse(database_url, 60 * SECOND, beating=True)
        assert (await caller.get("shaky")).state == SUSPECT
        await lapse(database_url, 60 * SECOND, beating=True)
        await becomes(caller, "shaky", READY)


async def test_expiring_and_coming_back_adds_up(sqlite_url: str, tmp_path: Path) -> None:
    async with serving(sqlite_url, Tokens(tmp_path), sweep_interval="50ms") as discovery:
        await discovery.swept()
        caller = discovery.caller()

        async def gone() -> bool:
            return not await caller.resolve()

        for _ in range(3):
            await caller.register("shaky")
            await lapse(sqlite_url, 43 * SECOND)
            await until(gone)
        back = await caller.register("shaky")
        assert back.agent.state == SUSPECT
        assert await caller.resolve() == ["shaky"]  # nobody else is left
        await caller.register("steady")
        assert await caller.resolve() == ["steady"]


async def test_what_is_forgiven_is_forgotten(sqlite_url: str, tmp_path: Path) -> None:
    clock = SweepClock()
    async with serving(
        sqlite_url, Tokens(tmp_path, clock=clock), clock=clock, sweep_interval=clock.INTERVAL
    ) as discovery:
        caller = discovery.caller()
        await caller.register("gone")
        await clock.pass_seconds(400)
        assert not (await caller.page()).agents
    assert await run(sqlite_url, "SELECT count(*) FROM memory") == [(0,)]
    assert await run(sqlite_url, "SELECT count(*) FROM removal") == [(1,)]
