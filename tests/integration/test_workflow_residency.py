"""Executions that wait are out of memory, and come back for whatever they wait for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk_shared.structs import Json
from support import behind
from support.chaos import let_leases_end
from support.discovery import until
from support.workflows import AgentError, State, World, echo

WAITING = """
name: waiting
steps:
  - id: only
    call: {capability: text.rare, input: {n: "${input.n}"}}
    timeout: {schedule_to_start: 1h}
output: "${steps.only.output.n}"
"""
PATIENT = """
name: patient
steps:
  - id: only
    call: {capability: text.shy}
    retry: {max_attempts: 3, initial: 1500ms, max: 1500ms, jitter: 0}
"""
ONCE = """
name: once
steps:
  - {id: before, call: {capability: text.rare}}
  - {id: after, call: {capability: text.once}, at_most_once: fail}
"""
COUNT = 30
BRIEF = {"linger": "200ms"}

ADRIFT = """
SELECT execution_id FROM execution
WHERE end_time IS NULL AND status <> 'quarantined' AND wake_at IS NULL
    AND owner NOT IN (SELECT name FROM lease)
    AND execution_id NOT IN (SELECT execution_id FROM agent_wait)
"""
"""The open executions that nobody would ever look at again: always none."""


async def count(world: World, which: str) -> int:
    """How many executions are so."""
    assert await behind.run(world.database_url, ADRIFT) == []
    rows = await behind.run(world.database_url, f"SELECT count(*) FROM execution WHERE {which}")
    return int(rows[0][0])


async def until_out_of_memory(world: World, number: int) -> None:
    """Waits until so many open executions are held by nobody."""

    async def left() -> bool:
        return await count(world, "owner IS NULL AND end_time IS NULL") == number

    await until(left)


async def waits(world: World) -> int:
    rows = await behind.run(world.database_url, "SELECT count(*) FROM agent_wait")
    return int(rows[0][0])


async def test_those_that_wait_for_an_agent_leave_and_start_when_one_appears(
    world: World,
) -> None:
    async with world.service(**BRIEF) as client:
        await client.create(WAITING)
        names = [await client.start("waiting", {"n": n}) for n in range(COUNT)]
        await until_out_of_memory(world, COUNT)
        assert await waits(world) == COUNT
        async with world.agent(text__rare=echo()):
            for name in names:
                assert (await client.wait(name)).state == State.STATE_SUCCEEDED
        assert await waits(world) == 0


async def test_no_more_are_roused_than_the_agents_take(world: World) -> None:
    gate = asyncio.Event()

    async def work(request: agent_pb.ExecuteRequest) -> dict[str, Json]:
        await gate.wait()
        return {"n": 1}

    async with world.service(**BRIEF) as client:
        await client.create(WAITING)
        names = [await client.start("waiting", {"n": n}) for n in range(COUNT)]
        await until_out_of_memory(world, COUNT)
        async with world.agent(capacity=3, text__rare=work) as agent:
            await agent.until(lambda agent: len(agent.requests) >= 3)
            assert await count(world, "owner IS NOT NULL AND end_time IS NULL") < COUNT / 2
            oldest = {request.execution for request in agent.requests[:3]}
            assert oldest == set(names[:3])
            gate.set()
            for name in names:
                assert (await client.wait(name)).state == State.STATE_SUCCEEDED


async def test_a_retry_that_is_far_away_is_waited_for_out_of_memory(world: World) -> None:
    async def shy(request: agent_pb.ExecuteRequest) -> dict[str, Json]:
        if request.attempt == 1:
            raise AgentError(grpc.StatusCode.UNAVAILABLE)
        return {}

    async with world.agent(text__shy=shy) as agent, world.service(**BRIEF) as client:
        await client.create(PATIENT)
        name = await client.start("patient")
        await until_out_of_memory(world, 1)
        assert await waits(world) == 0
        assert (await client.wait(name)).state == State.STATE_SUCCEEDED
        assert agent.calls["text.shy"] == 2


async def test_one_out_of_memory_hears_what_is_asked_of_it(world: World) -> None:
    async with world.service(**BRIEF, claim_interval="1h") as client:
        await client.create(WAITING)
        name = await client.start("waiting", {"n": 1})
        await until_out_of_memory(world, 1)
        await client.cancel(name)
        assert (await client.wait(name)).state == State.STATE_CANCELLED
        assert await waits(world) == 0


async def test_those_that_wait_outlive_the_process(world: World) -> None:
    async with world.process(**BRIEF) as first:
        await first.client.create(WAITING)
        names = [await first.client.start("waiting", {"n": n}) for n in range(3)]
        await until_out_of_memory(world, 3)
        await first.process.kill()
    async with world.agent(text__rare=echo()), world.service(**BRIEF) as client:
        for name in names:
            assert (await client.wait(name)).state == State.STATE_SUCCEEDED


async def test_one_that_cannot_be_read_keeps_nobody_else_waiting(world: World) -> None:
    async with world.service(**BRIEF) as client:
        await client.create(WAITING)
        names = [await client.start("waiting", {"n": n}) for n in range(3)]
        await until_out_of_memory(world, 3)
        spoilt = names[1].removeprefix("executions/")
        await behind.run(
            world.database_url,
            f"UPDATE execution SET snapshot = '{{' WHERE execution_id = '{spoilt}'",
        )
        async with world.agent(text__rare=echo()):
            for name in (names[0], names[2]):
                assert (await client.wait(name)).state == State.STATE_SUCCEEDED

        async def rests() -> bool:
            return await count(world, "owner IS NULL AND end_time IS NULL AND epoch > 1") == 1

        await until(rests)


async def test_one_whose_workflow_is_gone_keeps_nobody_else_waiting(world: World) -> None:
    async with world.service(**BRIEF) as client:
        await client.create(WAITING)
        await client.create(WAITING.replace("name: waiting", "name: gone"))
        await client.start("gone", {"n": 1})
        name = await client.start("waiting", {"n": 1})
        await until_out_of_memory(world, 2)
    await behind.run(world.database_url, "DELETE FROM workflow_version WHERE workflow_id = 'gone'")
    async with world.agent(text__rare=echo()), world.service(**BRIEF) as client:
        assert (await client.wait(name)).state == State.STATE_SUCCEEDED

        async def rests() -> bool:
            return await count(world, "owner IS NULL AND end_time IS NULL AND epoch > 1") == 1

        await until(rests)


async def test_a_wish_that_cannot_be_read_keeps_no_other_from_being_heard(world: World) -> None:
    gate = asyncio.Event()

    async def work(request: agent_pb.ExecuteRequest) -> dict[str, Json]:
        await gate.wait()
        return {"n": 1}

    async with world.agent(text__rare=work) as agent, world.service(**BRIEF) as client:
        await client.create(WAITING)
        names = [await client.start("waiting", {"n": n}) for n in range(2)]
        await agent.until(lambda agent: len(agent.requests) == 2)
        spoilt = names[0].removeprefix("executions/")
        await behind.run(
            world.database_url,
            "INSERT INTO execution_inbox"
            " (execution_id, inbox_seq, kind, attributes, create_time)"
            f" VALUES ('{spoilt}', 1, 'pause', '{{', 0)",
        )
        await behind.run(
            world.database_url,
            f"UPDATE execution SET inbox_seq = 1, wake_at = 1 WHERE execution_id = '{spoilt}'",
        )
        await client.cancel(names[1])
        assert (await client.wait(names[1])).state == State.STATE_CANCELLED

        async def rests() -> bool:
            return await count(world, "owner IS NULL AND end_time IS NULL") == 1

        await until(rests)


async def test_what_keeps_failing_by_a_defect_is_suspended_alone(world: World) -> None:
    gate = asyncio.Event()

    async def work(request: agent_pb.ExecuteRequest) -> dict[str, Json]:
        await gate.wait()
        return {"n": 1}

    renamed = WAITING.replace("name: waiting", "name: edited")
    async with world.agent(text__rare=work) as agent:
        async with world.process() as first:
            await first.client.create(WAITING)
            await first.client.create(renamed)
            poisoned = await first.client.start("edited", {"n": 1})
            sound = await first.client.start("waiting", {"n": 1})
            await agent.until(lambda agent: len(agent.requests) == 2)
            await first.process.kill()
        await let_leases_end(world.database_url)
        # A version never changes; this is what a defect may do to one.
        await behind.run(
            world.database_url,
            "UPDATE workflow_version SET definition = replace(definition, '\"only\"', '\"other\"')"
            " WHERE workflow_id = 'edited'",
        )
        gate.set()
        async with world.service() as client:
            assert (await client.wait(sound)).state == State.STATE_SUCCEEDED

            async def suspended() -> bool:
                return await count(world, "status = 'quarantined' AND owner IS NULL") == 1

            await until(suspended)
            history = await client.history(poisoned)
            assert history[-1].type == "execution.quarantined"


async def test_memory_and_store_are_reconciled(world: World) -> None:
    cancelled = asyncio.Event()

    async def work(request: agent_pb.ExecuteRequest) -> dict[str, Json]:
        if cancelled.is_set():
            return {"n": 1}
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with world.service(**BRIEF, reconcile_interval="100ms") as client:
        await client.create(WAITING)
        name = await client.start("waiting", {"n": 1})
        await until_out_of_memory(world, 1)
        # As a claim whose answer is lost does: it is ours, and we do not know of it.
        await behind.run(
            world.database_url,
            "UPDATE execution SET epoch = epoch + 1, owner ="
            " (SELECT name FROM lease WHERE name LIKE 'replica/%')",
        )
        await until_out_of_memory(world, 1)
        async with world.agent(text__rare=work) as agent:
            await agent.until(lambda agent: len(agent.requests) == 1)
            # As another replica does that claims it while this one stands still.
            await behind.run(
                world.database_url,
                "INSERT INTO lease (name, owner, epoch, expires_at)"
                " VALUES ('replica/other', 'other', 1, 9000000000000000)",
            )
            await behind.run(
                world.database_url,
                "UPDATE execution SET epoch = epoch + 1, owner = 'replica/other'",
            )
            await cancelled.wait()
            await behind.run(
                world.database_url, "UPDATE lease SET expires_at = 0 WHERE owner = 'other'"
            )
            assert (await client.wait(name)).state == State.STATE_SUCCEEDED


async def test_a_replica_that_ends_hands_over_what_waits_and_claims_nothing(
    tmp_path: Path, postgres_url: str
) -> None:
    gate = asyncio.Event()

    async def work(request: agent_pb.ExecuteRequest) -> dict[str, Json]:
        await gate.wait()
        return {"n": 1}

    async with (
        World(tmp_path, postgres_url).open() as world,
        world.agent(text__rare=work) as agent,
        world.process() as leaving,
    ):
        await leaving.client.create(WAITING)
        busy = await leaving.client.start("waiting", {"n": 1})
        await agent.until(lambda agent: len(agent.requests) == 1)
        await leaving.client.create(PATIENT)
        idle = await leaving.client.start("patient")
        ending = asyncio.create_task(leaving.process.terminate())

        async def handed_over() -> bool:
            return await count(world, "workflow_id = 'patient' AND owner IS NULL") == 1

        # It is due, and the replica that ends still holds its lease: it does not take it back.
        await until(handed_over)
        async with world.service() as staying:
            await staying.cancel(idle)
            assert (await staying.wait(idle)).state == State.STATE_CANCELLED
            assert await count(world, "workflow_id = 'waiting' AND owner IS NOT NULL") == 1
            gate.set()
            assert (await staying.wait(busy)).state == State.STATE_SUCCEEDED
            assert await ending == 0


async def test_a_step_whose_turn_comes_while_a_replica_ends_is_called_once_by_the_next(
    world: World,
) -> None:
    gate = asyncio.Event()

    async def work(request: agent_pb.ExecuteRequest) -> dict[str, Json]:
        await gate.wait()
        return {"n": 1}

    async with world.agent(text__rare=work, text__once=echo()) as agent:
        async with world.process(linger="1h") as first:
            await first.client.create(ONCE)
            name = await first.client.start("once")
            await first.client.create(WAITING.replace("text.rare", "text.none"))
            await first.client.start("waiting", {"n": 1})
            await agent.until(lambda agent: len(agent.requests) == 1)
            assert await count(world, "owner IS NOT NULL") == 2
            ending = asyncio.create_task(first.process.terminate())
            # What has no call in flight goes at once.
            await until_out_of_memory(world, 1)
            gate.set()
            assert await ending == 0
        assert agent.calls["text.once"] == 0
        assert await waits(world) == 2
        async with world.service() as client:
            assert (await client.wait(name)).state == State.STATE_SUCCEEDED
        assert agent.calls["text.once"] == 1
