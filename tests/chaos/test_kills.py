"""The workflow process killed again and again under load: everything ends, nothing ends twice."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from support.chaos import CHAIN
from support.workflows import ScriptedAgent, State, World, echo

PER_LIFE = 40


def has_calls(count: int, agent: ScriptedAgent) -> bool:
    return len(agent.requests) >= count


@pytest.mark.parametrize(
    "kills", [3, pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
async def test_killed_under_load(tmp_path: Path, database_url: str, kills: int) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(World(tmp_path, database_url).open())
        agent = await stack.enter_async_context(world.agent(text__one=echo(), text__two=echo()))
        names: list[str] = []
        for life in range(kills):
            async with world.process(replica_lease="1s") as service:
                if life == 0:
                    await service.client.create(CHAIN)
                names += await asyncio.gather(
                    *(service.client.start("chain", {"n": n}) for n in range(PER_LIFE))
                )
                # Somewhere in the middle of what has just been started.
                await agent.until(partial(has_calls, len(agent.requests) + PER_LIFE // 2))
                await service.process.kill()
        async with world.process(replica_lease="1s") as service:
            for name in names:
                execution = await service.client.wait(name, seconds=60)
                assert execution.state == State.STATE_SUCCEEDED
                history = await service.client.history(name)
                assert [entry.sequence for entry in history] == list(range(1, len(history) + 1))
                accepted = [entry.step_id for entry in history if entry.type == "step.succeeded"]
                assert accepted == ["first", "second", "third"]
