"""Every kind of step on the service as it is: run, seen, killed and taken up again."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.workflow.v1 import execution_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.structs import Json, from_struct, from_value, to_value
from support import behind
from support.discovery import until as eventually
from support.gates import Gate
from support.refusals import refused
from support.verbs import ask, kinds, until, until_it
from support.workflows import AgentError, State, WorkflowClient, World, echo

StepState = execution_pb2.StepRun.State

TRIAGE = """
name: triage
steps:
  - id: count
    set: {values: {seen: 0, kind: "${input.kind}"}}
  - id: which
    switch:
      cases:
        - when: "state.kind == 'loud'"
          steps:
            - {id: shout, call: {capability: "text.${input.kind}", input: {n: 1}}}
            - {id: told, emit: {type: ticket.shouted, data: {n: "${steps.shout.output.n}"}}}
            - {id: done, set: {values: {seen: "${state.seen + 1.0}"}}}
      default:
        - {id: refuse, fail: {reason: TOO_QUIET, message: "${input.kind} is too quiet"}}
    catch:
      - errors: [TOO_QUIET]
        steps:
          - id: quiet
            call: {capability: text.loud, input: {why: "${steps.which.error.reason}"}}
  - {id: pause, wait: {duration: 20ms}}
  - {id: shaky, call: {capability: text.shaky}, on_error: continue}
  - id: early
    when: "input.kind == 'early'"
    return: {output: early}
output:
  which: "${steps.which.output}"
  seen: "${state.seen}"
  version: "${execution.state_version}"
  shaky: "${steps.shaky.error.code}"
"""
EACH = """
name: each
steps:
  - id: items
    map:
      over: input.items
      as: it
      max_concurrency: 50
      tolerate: 10%
      steps:
        - {id: one, call: {capability: text.one, input: {n: "${it}"}, affinity: "${it}"}}
        - {id: two, call: {capability: text.two, input: {n: "${steps.one.output.n}"}}}
    timeout: {schedule_to_close: 1m}
output: "${steps.items.output.map(each, each.n)}"
"""
MANY = """
name: many
steps:
  - id: items
    map:
      over: input.items
      max_concurrency: 1000
      steps: [{id: put, set: {values: {n: "${item}"}}}]
"""
ROUNDS = """
name: rounds
steps:
  - id: rounds
    loop:
      while: "loop.index < 300.0"
      max_iterations: 1000
      keep_last: 2
      steps:
        - {id: add, set: {values: {n: "${has(state.n) ? state.n + 1.0 : 1.0}"}}}
        - id: ask
          when: "loop.index == 250.0"
          call: {capability: text.one, input: {n: "${state.n}"}}
output: {n: "${state.n}", last: "${steps.rounds.output}"}
"""
APPROVED = """
name: approved
steps:
  - {id: before, call: {capability: text.one, input: {n: 1}}}
  - {id: approval, signal: {name: approval, timeout: 1h}}
output: "${steps.approval.output}"
"""
BOOKED = """
name: booked
steps:
  - id: flight
    call: {capability: text.one, input: {n: flight}}
    compensate: {call: {capability: text.undo, input: {of: "${steps.flight.output.n}"}}}
  - id: hotels
    map:
      over: "['a', 'b']"
      max_concurrency: 1
      steps:
        - id: hotel
          call: {capability: text.one, input: {n: "${item}"}}
          compensate: {call: {capability: text.undo, input: {of: "${steps.hotel.output.n}"}}}
  - {id: pay, call: {capability: text.pay}}
"""
ANY = """
name: any
steps:
  - {id: slow, call: {capability: text.slow}}
  - {id: fast, after: [], call: {capability: text.one, input: {n: fast}}}
  - id: first
    after: [slow, fast]
    join: any
    call: {capability: text.two, input: {n: "${steps.fast.output.n}"}}
output: "${steps.first.output.n}"
"""


async def shaky(_: agent_pb.ExecuteRequest) -> dict[str, Json]:
    raise AgentError(grpc.StatusCode.INVALID_ARGUMENT)


async def signal(
    client: WorkflowClient, name: str, which: str, data: Json, request_id: str = ""
) -> execution_pb2.WorkflowExecution:
    request = pb.SignalExecutionRequest(
        name=name, signal=which, data=to_value(data), request_id=request_id
    )
    return await client.executions.SignalExecution(request, metadata=client.metadata, timeout=20)


def steps(execution: execution_pb2.WorkflowExecution) -> dict[str, execution_pb2.StepRun]:
    return {step.path: step for step in execution.steps}


async def test_switch_set_emit_fail_catch_wait_continue_and_return(world: World) -> None:
    async with world.agent(text__loud=echo(), text__shaky=shaky), world.service() as client:
        await client.create(TRIAGE)
        loud = await client.run("triage", {"kind": "loud"})
        assert loud.state == State.STATE_SUCCEEDED, loud
        assert from_value(loud.output) == {
            "which": None,
            "seen": 1,
            "version": 2,
            "shaky": "INVALID_ARGUMENT",
        }
        seen = steps(loud)
        assert seen["which/shout"].capability == "text.loud"
        assert from_struct(seen["which/shout"].output) == {"n": 1}
        assert seen["shaky"].state == StepState.STATE_FAILED
        assert "step.emitted" in await kinds(client, loud.name)
        quiet = await client.run("triage", {"kind": "quiet"})
        assert from_value(quiet.output)["which"] == {"why": "TOO_QUIET"}  # type: ignore[index, call-overload]
        assert steps(quiet)["which"].state == StepState.STATE_SUCCEEDED
        early = await client.run("triage", {"kind": "early"})
        assert from_value(early.output) == "early"


async def test_a_map_survives_a_kill_and_asks_for_each_item_once(world: World) -> None:
    gate = Gate()
    async with world.agent(text__one=echo(), text__two=gate.work) as agent:
        async with world.process(replica_lease="1s") as first:
            await first.client.create(EACH)
            name = await first.client.start("each", {"items": list(range(120))})
            await agent.until(lambda agent: agent.calls["text.two"] >= 50)
            under_way = await until_it(first.client, name, lambda it: len(it.steps) > 50)
            assert steps(under_way)["items"].progress.total == 120
            await first.process.kill()
        gate.open.set()
        async with world.process(replica_lease="1s") as second:
            ended = await second.client.wait(name, seconds=60)
            assert ended.state == State.STATE_SUCCEEDED, ended
            assert from_value(ended.output) == list(range(120))
            assert [step.path for step in ended.steps] == ["items"]
            assert len(from_value(ended.steps[0].value)) == 120  # type: ignore[arg-type]
            await kinds(second.client, name)
        rows = await behind.run(world.database_url, "SELECT step_id FROM step_output")
        assert [tuple(row) for row in rows] == [("items",)], "what it needed meanwhile is gone"
        keys = Counter(
            each.idempotency_key for each in agent.requests if each.capability == "text.one"
        )
        assert len(keys) == 120
        assert f"{name}/items/7/one" in keys


async def test_a_map_tolerates_some_failures_and_no_more(world: World) -> None:
    async def picky(request: agent_pb.ExecuteRequest) -> dict[str, Json]:
        if request.input["n"] in (3, 5):
            raise AgentError(grpc.StatusCode.INVALID_ARGUMENT)
        return dict(from_struct(request.input))

    async with world.agent(text__one=echo(), text__two=picky), world.service() as client:
        tolerant = EACH.replace("each.n", "each == null ? -1.0 : each.n")
        await client.create(tolerant)
        ended = await client.run("each", {"items": list(range(20))})
        assert ended.state == State.STATE_SUCCEEDED, ended
        assert (ended.steps[0].progress.done, ended.steps[0].progress.failed) == (18, 2)
        ended = await client.run("each", {"items": list(range(10))})
        assert ended.state == State.STATE_FAILED
        assert ended.error.message.startswith("Step items failed: Step items/")


async def test_ten_thousand_items_take_tens_of_commits(world: World) -> None:
    # Nobody is asked: what counts is what the engine does for each item.
    async with world.service() as client:
        await client.create(MANY)
        name = await client.start("many", {"items": list(range(10_000))})
        ended = await client.wait(name, seconds=60)
        assert ended.state == State.STATE_SUCCEEDED, ended
        assert ended.steps[0].progress.done == 10_000
        assert len(from_value(ended.steps[0].value)) == 10_000  # type: ignore[arg-type]


async def test_a_loop_goes_on_where_it_was_when_its_process_was_killed(world: World) -> None:
    gate = Gate()
    async with world.agent(text__one=gate.work) as agent:
        async with world.process(replica_lease="1s") as first:
            await first.client.create(ROUNDS)
            name = await first.client.start("rounds")
            await agent.until(lambda agent: agent.calls["text.one"] == 1)
            under_way = await until_it(
                first.client, name, lambda it: steps(it)["rounds"].progress.done == 250
            )
            assert "rounds/250/ask" in steps(under_way)
            await first.process.kill()
        gate.open.set()
        async with world.process(replica_lease="1s") as second:
            ended = await second.client.wait(name, seconds=60)
            assert from_value(ended.output) == {"n": 300, "last": [None, None]}, ended
            assert steps(ended)["rounds"].progress.done == 300
        assert {each.step for each in agent.requests} == {"rounds/250/ask"}
        assert from_struct(agent.requests[-1].input) == {"n": 251}


async def test_a_signal_is_taken_once_early_or_late_and_waiting_costs_no_memory(
    world: World,
) -> None:
    gate = Gate()
    async with (
        world.agent(text__one=gate.work) as agent,
        world.service(linger="200ms") as client,
    ):
        await client.create(APPROVED)
        early, late = [await client.start("approved") for _ in range(2)]
        await agent.until(lambda agent: agent.calls["text.one"] == 2)
        for _ in range(2):
            answer = await signal(client, early, "approval", {"by": "me"}, request_id="once")
            assert answer.requested_transition == 0
        for data, reason in (
            ("else", Reason.REQUEST_ID_REUSED),
            ("x" * 70_000, Reason.INVALID_FIELD),
        ):
            error = await refused(signal(client, early, "approval", data, request_id="once"))
            assert error.reason is reason
        error = await refused(signal(client, "executions/none", "approval", None))
        assert error.reason is Reason.RESOURCE_NOT_FOUND
        gate.open.set()
        ended = await client.wait(early)
        assert from_value(ended.output) == {"by": "me"}
        assert (await kinds(client, early)).count("execution.signalled") == 1

        async def left() -> bool:
            open_ = "SELECT owner FROM execution WHERE end_time IS NULL"
            return [row[0] for row in await behind.run(world.database_url, open_)] == [None]

        await eventually(left)
        seen = steps(await ask(client, "GetExecution", late))
        assert seen["approval"].state == StepState.STATE_WAITING
        await signal(client, late, "other", None)
        await signal(client, late, "approval", True)
        ended = await client.wait(late)
        assert (ended.state, from_value(ended.output)) == (State.STATE_SUCCEEDED, True)


async def test_a_failure_undoes_what_was_done_also_after_a_kill(world: World) -> None:
    gate = Gate()

    async def refuse(_: agent_pb.ExecuteRequest) -> dict[str, Json]:
        raise AgentError(grpc.StatusCode.INVALID_ARGUMENT)

    async with world.agent(text__one=echo(), text__undo=gate.work, text__pay=refuse) as agent:
        async with world.process(replica_lease="1s") as first:
            await first.client.create(BOOKED)
            name = await first.client.start("booked")
            await agent.until(lambda agent: agent.calls["text.undo"] == 1)
            await first.process.kill()
        gate.open.set()
        async with world.process(replica_lease="1s") as second:
            ended = await second.client.wait(name, seconds=60)
            assert ended.state == State.STATE_FAILED
            assert ended.error.message.startswith("Step pay failed")
            assert "execution.compensating" in await kinds(second.client, name)
        undone = [each for each in agent.requests if each.capability == "text.undo"]
        assert [from_struct(each.input)["of"] for each in undone] == ["b", "b", "a", "flight"]
        assert [each.step for each in undone][1:] == [
            "hotels/1/hotel/compensate",
            "hotels/0/hotel/compensate",
            "flight/compensate",
        ]


async def test_cancelled_with_compensation_it_is_undone_first(world: World) -> None:
    gate = Gate()
    async with (
        world.agent(text__one=echo(), text__undo=echo(), text__pay=gate.work) as agent,
        world.service() as client,
    ):
        await client.create(BOOKED)
        name = await client.start("booked")
        await agent.until(lambda agent: agent.calls["text.pay"] == 1)
        request = pb.CancelExecutionRequest(name=name, reason="enough", compensate=True)
        await client.executions.CancelExecution(request, metadata=client.metadata, timeout=20)
        ended = await until(client, name, State.STATE_CANCELLED)
        assert agent.calls["text.undo"] == 3
        assert ended.error.message == "enough"


async def test_the_first_of_several_is_enough(world: World) -> None:
    gate = Gate()
    async with (
        world.agent(text__one=echo(), text__two=echo(), text__slow=gate.work),
        world.service() as client,
    ):
        await client.create(ANY)
        ended = await client.run("any")
        assert from_value(ended.output) == "fast"
        assert steps(ended)["slow"].state == StepState.STATE_CANCELLED


async def test_held_inside_a_map_it_begins_nothing_until_it_is_resumed(world: World) -> None:
    gate = Gate()
    async with (
        world.agent(text__one=echo(), text__two=gate.work) as agent,
        world.service() as client,
    ):
        await client.create(EACH)
        name = await client.start("each", {"items": list(range(80))})
        await agent.until(lambda agent: agent.calls["text.two"] == 50)
        await ask(client, "PauseExecution", name)
        await until(client, name, State.STATE_PAUSED)
        gate.open.set()
        paused = await until_it(client, name, lambda it: steps(it)["items"].progress.done == 50)
        assert paused.state == State.STATE_PAUSED
        assert agent.calls["text.one"] == 50
        await ask(client, "ResumeExecution", name)
        ended = await client.wait(name)
        assert from_value(ended.output) == list(range(80))
        again = await asyncio.gather(*(client.run("each", {"items": [n]}) for n in range(3)))
        assert [from_value(each.output) for each in again] == [[0], [1], [2]]
