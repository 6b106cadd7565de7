"""SkipStep, and retries from a step: what people do when a step does not come to its end."""

from __future__ import annotations

from collections import Counter

from brikk.workflow.v1 import execution_pb2
from brikk_shared.errors import Reason
from brikk_shared.structs import from_struct, from_value, to_struct
from support.gates import Gate
from support.refusals import refused
from support.verbs import Execution, ask, until_it
from support.workflows import State, World, echo

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
StepState = execution_pb2.StepRun.State


async def test_a_skipped_step_is_done_with_what_is_given_in_its_place(world: World) -> None:
    gate = Gate()
    async with (
        world.agent(text__one=gate.work, text__three=echo()) as agent,
        world.service() as client,
    ):
        await client.create(CHAIN)
        name = await client.start("chain", {"n": 1})
        await agent.until(lambda agent: bool(agent.requests))
        # Its call is under way; that of the next waits for an agent there is none of.
        given = {"output": to_struct({"n": 5}), "reason": "took too long", "request_id": "r1"}
        answer = await ask(client, "SkipStep", name, step="first", **given)
        assert answer.requested_transition == Execution.TRANSITION_SKIP
        await until_it(client, name, lambda it: it.steps[1].state == StepState.STATE_WAITING)
        await ask(client, "SkipStep", name, step="second", output=to_struct({"n": 7}))
        ended = await client.wait(name)
        assert (ended.state, from_value(ended.output)) == (State.STATE_SUCCEEDED, 7)
        assert [each.state for each in ended.steps] == [
            StepState.STATE_SKIPPED,
            StepState.STATE_SKIPPED,
            StepState.STATE_SUCCEEDED,
        ]
        assert from_struct(ended.steps[0].output) == {"n": 5}
        assert agent.calls == Counter({"text.one": 1, "text.three": 1})
        skipped = [each for each in await client.history(name) if each.type == "step.skipped"]
        assert [from_struct(each.attributes) for each in skipped] == [
            {"by": "users/tester", "reason": "took too long"},
            {"by": "users/tester", "reason": ""},
        ]
        # It has ended, and what repeats an answered request is answered like it.
        again = await ask(client, "SkipStep", name, step="first", **given)
        assert again.state == State.STATE_SUCCEEDED
        error = await refused(ask(client, "SkipStep", name, step="fourth"))
        assert (error.reason, error.violations[0].field) == (Reason.INVALID_FIELD, "step")


async def test_from_a_step_on_everything_is_done_again(world: World) -> None:
    async with (
        world.agent(text__one=echo(), text__two=echo(), text__three=echo()) as agent,
        world.service() as client,
    ):
        await client.create(CHAIN)
        done = await client.run("chain", {"n": 1})
        assert done.state == State.STATE_SUCCEEDED
        error = await refused(ask(client, "RetryExecution", done.name))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", Reason.WRONG_STATE)
        error = await refused(ask(client, "RetryExecution", done.name, from_step="fourth"))
        assert (error.reason, error.violations[0].field) == (Reason.INVALID_FIELD, "from_step")

        begun = await ask(client, "RetryExecution", done.name, from_step="second")
        assert begun.retry_of == done.name
        ended = await client.wait(begun.name)
        assert ended.state == State.STATE_SUCCEEDED
        assert agent.calls == Counter({"text.one": 1, "text.two": 2, "text.three": 2})
        started = (await client.history(begun.name))[0]
        assert from_struct(started.attributes)["from_step"] == "second"
