"""Executions survive what happens to processes: kill -9, SIGTERM, takeover by another replica."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.chaos import let_leases_end
from support.gates import Gate
from support.workflows import State, WorkflowClient, World, echo

CHAIN = """
name: chain
steps:
  - id: first
    call: {capability: text.one, input: {n: "${input.n}"}}
  - id: second
    call: {capability: text.two, input: {n: "${steps.first.output.n}"}}
  - id: third
    call: {capability: text.three, input: {n: "${steps.second.output.n}"}}
output: "${steps.third.output.n}"
"""
COUNT = 30


async def ended_once_each(client: WorkflowClient, names: list[str]) -> None:
    for execution in await asyncio.gather(*(client.wait(name, seconds=60) for name in names)):
        assert execution.state == State.STATE_SUCCEEDED
        history = await client.history(execution.name)
        assert [entry.sequence for entry in history] == list(range(1, len(history) + 1))
        kinds = [(entry.type, entry.step_id) for entry in history]
        for step in ("first", "second", "third"):
            assert kinds.count(("step.succeeded", step)) == 1
        assert kinds.count(("execution.succeeded", "")) == 1


async def test_killed_in_the_middle_all_complete_and_none_twice(world: World) -> None:
    gate = Gate()
    async with world.agent(text__one=echo(), text__two=gate.work, text__three=echo()) as agent:
        async with world.process() as first:
            await first.client.create(CHAIN)
            names = [await first.client.start("chain", {"n": n}) for n in range(COUNT)]
            await agent.until(lambda agent: agent.calls["text.two"] == COUNT)
            await first.process.kill()
        gate.open.set()
        await let_leases_end(world.database_url)
        async with world.process() as second:
            await ended_once_each(second.client, names)
        # The calls in flight were made again, under the same key and another token.
        by_key: dict[str, set[str]] = {}
        for request in agent.requests:
            if request.capability == "text.two":
                by_key.setdefault(request.idempotency_key, set()).add(request.attempt_token)
                assert request.attempt == 1
        assert len(by_key) == COUNT
        assert {len(tokens) for tokens in by_key.values()} == {2}


async def test_terminated_it_lets_calls_finish_and_leaves_the_rest(world: World) -> None:
    gate = Gate()
    async with world.agent(text__one=echo(), text__two=gate.work, text__three=echo()) as agent:
        async with world.process() as first:
            await first.client.create(CHAIN)
            names = [await first.client.start("chain", {"n": n}) for n in range(COUNT)]
            await agent.until(lambda agent: agent.calls["text.two"] == COUNT)
            stopping = asyncio.create_task(first.process.terminate())
            gate.open.set()
            assert await stopping == 0
        async with world.process() as second:
            await ended_once_each(second.client, names)
        assert agent.calls["text.two"] == COUNT, "no finished call was made again"


async def test_a_second_replica_takes_over_what_a_dead_one_held(
    tmp_path: Path, postgres_url: str
) -> None:
    gate = Gate()
    async with (
        World(tmp_path, postgres_url).open() as world,
        world.agent(text__one=echo(), text__two=gate.work, text__three=echo()) as agent,
        world.service() as survivor,
        world.process() as doomed,
    ):
        await survivor.create(CHAIN)
        names = [await doomed.client.start("chain", {"n": n}) for n in range(COUNT)]
        await agent.until(lambda agent: agent.calls["text.two"] == COUNT)
        await doomed.process.kill()
        await let_leases_end(world.database_url)
        gate.open.set()
        await ended_once_each(survivor, names)


async def test_a_wish_recorded_by_one_replica_is_fulfilled_by_another(
    tmp_path: Path, postgres_url: str
) -> None:
    gate = Gate()
    async with (
        World(tmp_path, postgres_url).open() as world,
        world.agent(text__one=gate.work) as agent,
        world.service() as owner,
        world.service() as other,
    ):
        await owner.create(CHAIN)
        name = await owner.start("chain", {"n": 1})
        await agent.until(lambda agent: bool(agent.requests))
        await other.cancel(name)
        assert (await other.wait(name)).state == State.STATE_CANCELLED


async def test_a_start_is_found_whichever_replica_is_asked(
    tmp_path: Path, postgres_url: str
) -> None:
    async with (
        World(tmp_path, postgres_url).open() as world,
        world.agent(text__one=echo(), text__two=echo(), text__three=echo()),
        world.service() as one,
        world.service() as two,
    ):
        await one.create(CHAIN)
        names = await asyncio.gather(
            *(client.start("chain", {"n": 1}, request_id="r") for client in (one, two) * 4)
        )
        assert len(set(names)) == 1
        await ended_once_each(two, [names[0]])
