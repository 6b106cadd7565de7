"""Pause, resume, terminate: asked of any replica, in effect where the execution is held."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from brikk.workflow.v1 import execution_pb2
from brikk_shared.errors import Reason
from brikk_shared.structs import from_struct, from_value
from support.gates import Gate
from support.refusals import refused
from support.verbs import Execution, ask, kinds, until, until_it
from support.workflows import State, WorkflowClient, World, echo

CHAIN = """
name: chain
steps:
  - id: first
    call: {capability: text.one, input: {n: "${input.n}"}}
  - id: second
    call: {capability: text.two, input: {n: "${steps.first.output.n}"}}
output: "${steps.second.output.n}"
"""
VERBS = ("CancelExecution", "PauseExecution", "ResumeExecution", "TerminateExecution")
ENDED = {State.STATE_SUCCEEDED, State.STATE_FAILED, State.STATE_CANCELLED, State.STATE_TERMINATED}
StepState = execution_pb2.StepRun.State


async def test_paused_it_keeps_what_comes_and_calls_nobody_until_it_is_resumed(
    world: World,
) -> None:
    gate = Gate()
    async with (
        world.agent(text__one=gate.work, text__two=echo()) as agent,
        world.service() as client,
    ):
        await client.create(CHAIN)
        name = await client.start("chain", {"n": 1})
        await agent.until(lambda agent: bool(agent.requests))
        answer = await ask(client, "PauseExecution", name, reason="lunch")
        assert answer.state == State.STATE_RUNNING
        assert answer.requested_transition == Execution.TRANSITION_PAUSE
        paused = await until(client, name, State.STATE_PAUSED)
        assert paused.requested_transition == Execution.TRANSITION_UNSPECIFIED
        assert paused.state_reason == "lunch"

        gate.open.set()
        kept = await until_it(
            client, name, lambda it: it.steps[0].state == StepState.STATE_SUCCEEDED
        )
        assert kept.state == State.STATE_PAUSED
        assert agent.calls["text.two"] == 0

        await ask(client, "ResumeExecution", name)
        ended = await client.wait(name)
        assert (ended.state, from_value(ended.output)) == (State.STATE_SUCCEEDED, 1)
        assert ended.state_reason == ""
        assert agent.calls == Counter({"text.one": 1, "text.two": 1})
        entries = await client.history(name)
        [pause] = [each for each in entries if each.type == "execution.paused"]
        assert from_struct(pause.attributes)["reason"] == "lunch"


async def test_terminated_it_ends_at_once_also_when_paused(world: World) -> None:
    gate = Gate()
    async with world.agent(text__one=gate.work) as agent, world.service() as client:
        await client.create(CHAIN)
        names = [await client.start("chain", {"n": n}) for n in range(2)]
        await agent.until(lambda agent: len(agent.requests) == 2)
        await ask(client, "PauseExecution", names[1])
        await until(client, names[1], State.STATE_PAUSED)
        for name in names:
            answer = await ask(client, "TerminateExecution", name, reason="enough")
            assert answer.requested_transition == Execution.TRANSITION_TERMINATE
            ended = await client.wait(name)
            assert ended.state == State.STATE_TERMINATED
            assert "enough" in ended.error.message
            assert ended.HasField("end_time")
            assert (await kinds(client, name))[-1] == "execution.terminated"
        await asyncio.wait_for(gate.left.wait(), 10)


async def test_the_same_request_id_records_one_wish_and_another_wish_is_refused(
    world: World,
) -> None:
    gate = Gate()
    async with world.agent(text__one=gate.work) as agent, world.service() as client:
        await client.create(CHAIN)
        name = await client.start("chain", {"n": 1})
        await agent.until(lambda agent: bool(agent.requests))
        for _ in range(2):
            await ask(client, "PauseExecution", name, request_id="r1", reason="why")
        await until(client, name, State.STATE_PAUSED)
        await ask(client, "ResumeExecution", name)
        await until(client, name, State.STATE_RUNNING)
        # A repetition that comes late does not pause it once more.
        answer = await ask(client, "PauseExecution", name, request_id="r1", reason="why")
        assert answer.requested_transition == Execution.TRANSITION_UNSPECIFIED
        for verb in ("CancelExecution", "ResumeExecution", "TerminateExecution"):
            error = await refused(ask(client, verb, name, request_id="r1"))
            assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.REQUEST_ID_REUSED)
            assert error.metadata["request_id"] == "r1"
        error = await refused(ask(client, "PauseExecution", name, request_id="r1", reason="else"))
        assert error.reason is Reason.REQUEST_ID_REUSED
        await ask(client, "TerminateExecution", name)
        await client.wait(name)
        assert Counter(await kinds(client, name))["execution.paused"] == 1


async def test_what_changes_nothing_leaves_no_trace(world: World) -> None:
    gate = Gate()
    async with (
        world.agent(text__one=gate.work, text__two=echo()) as agent,
        world.service() as client,
    ):
        await client.create(CHAIN)
        name = await client.start("chain", {"n": 1})
        await agent.until(lambda agent: bool(agent.requests))
        await ask(client, "ResumeExecution", name)
        for _ in range(3):
            await ask(client, "PauseExecution", name)
        await until(client, name, State.STATE_PAUSED)
        for _ in range(3):
            await ask(client, "ResumeExecution", name)
        gate.open.set()
        assert (await client.wait(name)).state == State.STATE_SUCCEEDED
        seen = Counter(await kinds(client, name))
        assert seen["execution.paused"] == seen["execution.resumed"] == 1


async def test_one_that_has_ended_stays_as_it_is(world: World) -> None:
    async with world.agent(text__one=echo(), text__two=echo()), world.service() as client:
        await client.create(CHAIN)
        ended = await client.run("chain", {"n": 1})
        for verb in VERBS:
            answer = await ask(client, verb, ended.name)
            assert answer.state == State.STATE_SUCCEEDED
            assert answer.requested_transition == Execution.TRANSITION_UNSPECIFIED
            assert answer.sequence == ended.sequence


async def test_wishes_that_meet_the_end_change_it_once_or_not_at_all(world: World) -> None:
    count = 20
    async with world.agent(text__one=echo(), text__two=echo()), world.service() as client:
        await client.create(CHAIN)
        names = [await client.start("chain", {"n": n}) for n in range(count)]
        await asyncio.gather(
            *(ask(client, verb, name) for name in names for verb in (*VERBS, *reversed(VERBS)))
        )
        for name in names:
            ended = await client.wait(name)
            assert ended.state in ENDED
            assert ended.requested_transition == Execution.TRANSITION_UNSPECIFIED
            terminal = {"succeeded", "failed", "cancelled", "terminated"}
            ends = [
                kind
                for kind in await kinds(client, name)
                if kind.removeprefix("execution.") in terminal
            ]
            assert len(ends) == 1


async def test_wishes_nobody_takes_up_are_bounded_and_kept(world: World) -> None:
    most, gate = 1000, Gate()
    async with (
        world.agent(text__one=echo(), text__two=gate.work) as agent,
        world.service(max_owned=1) as client,
    ):
        await client.create(CHAIN)
        first = await client.start("chain", {"n": 1})
        await agent.until(lambda agent: agent.calls["text.two"] == 1)
        # There is no room for it as long as the first one runs.
        name = await client.start("chain", {"n": 2})
        for _ in range(most // 100):
            await asyncio.gather(*(ask(client, "PauseExecution", name) for _ in range(100)))
        error = await refused(ask(client, "ResumeExecution", name))
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", Reason.QUOTA_EXCEEDED)
        assert error.metadata["limit"] == str(most)
        assert error.metadata["resource"] == name
        assert error.retry_after is not None

        await ask(client, "TerminateExecution", first)
        await until(client, name, State.STATE_PAUSED)
        assert agent.calls["text.one"] == 1, "nobody is called for what is to be paused"
        gate.open.set()
        await ask(client, "ResumeExecution", name)
        assert (await client.wait(name)).state == State.STATE_SUCCEEDED
        assert Counter(await kinds(client, name))["execution.paused"] == 1


async def test_nobody_asks_of_what_another_organisation_owns(world: World) -> None:
    async with (
        world.service() as mine,
        WorkflowClient(mine.address, world.tokens, "other") as theirs,
    ):
        await mine.create(CHAIN)
        name = await mine.start("chain", {"n": 1})
        before = await kinds(mine, name)
        for verb in (*VERBS, "RetryExecution"):
            for whose in (name, "executions/absent"):
                error = await refused(ask(theirs, verb, whose))
                assert (error.code, error.reason) == ("NOT_FOUND", Reason.RESOURCE_NOT_FOUND)
                assert error.metadata["resource"] == whose
        assert await kinds(mine, name) == before


WRONG: Sequence[tuple[str, str, str]] = [
    *((verb, "name", "") for verb in (*VERBS, "RetryExecution")),
    *((verb, "name", "executions/A") for verb in (*VERBS, "RetryExecution")),
    *((verb, "request_id", "x" * 65) for verb in (*VERBS, "RetryExecution")),
    ("CancelExecution", "reason", "x" * 1001),
    ("PauseExecution", "reason", "x" * 1001),
    ("TerminateExecution", "reason", "x" * 1001),
    ("RetryExecution", "workflow", "workflows/Chain"),
    ("RetryExecution", "workflow", "workflows/chain/versions/0"),
]


async def test_what_is_wrong_is_named_by_its_field(tmp_path: Path, sqlite_url: str) -> None:
    async with World(tmp_path, sqlite_url).open() as world, world.service() as client:
        for verb, field, value in WRONG:
            given = {"name": "executions/e1", field: value}
            error = await refused(ask(client, verb, **given))
            assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_FIELD), verb
            assert {each.field for each in error.violations} == {field}, verb


async def test_a_verb_takes_effect_whichever_replica_is_asked(
    tmp_path: Path, postgres_url: str
) -> None:
    gate = Gate()
    async with (
        World(tmp_path, postgres_url).open() as world,
        world.agent(text__one=gate.work, text__two=echo()) as agent,
        world.service() as owner,
        world.service() as other,
    ):
        await owner.create(CHAIN)
        names = [await owner.start("chain", {"n": n}) for n in range(2)]
        await agent.until(lambda agent: len(agent.requests) == 2)
        for name in names:
            await ask(other, "PauseExecution", name)
            assert (await until(other, name, State.STATE_PAUSED)).name == name
        await ask(other, "TerminateExecution", names[0])
        assert (await other.wait(names[0])).state == State.STATE_TERMINATED
        await ask(other, "ResumeExecution", names[1])
        gate.open.set()
        assert (await owner.wait(names[1])).state == State.STATE_SUCCEEDED
