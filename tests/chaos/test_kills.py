"""The workflow process killed again and again under load: everything ends, nothing ends twice."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from support.chaos import CHAIN, Tell, let_leases_end, prove
from support.workflows import ScriptedAgent, State, World, echo

PER_LIFE = 40


def has_calls(count: int, agent: ScriptedAgent) -> bool:
    return len(agent.requests) >= count


@pytest.mark.parametrize(
    "kills", [3, pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
async def test_killed_under_load(tmp_path: Path, database_url: str, kills: int, tell: Tell) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(World(tmp_path, database_url).open())
        agent = await stack.enter_async_context(world.agent(text__one=echo(), text__two=echo()))
        names: list[str] = []
        for life in range(kills):
            async with world.process() as service:
                if life == 0:
                    await service.client.create(CHAIN)
                names += await asyncio.gather(
                    *(service.client.start("chain", {"n": n}) for n in range(PER_LIFE))
                )
                # Somewhere in the middle of what has just been started.
                await agent.until(partial(has_calls, len(agent.requests) + PER_LIFE // 2))
                await service.process.kill()
            await let_leases_end(database_url)
        async with world.process() as service:
            for name in names:
                execution = await service.client.wait(name, seconds=60)
                assert execution.state == State.STATE_SUCCEEDED
        await prove(database_url, names)
        again = len(agent.requests) - 3 * len(names)
        tell(f"{kills} kills: {len(names)} executions succeeded, {again} calls were made again")
