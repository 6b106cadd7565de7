"""While no agent can be reached, steps wait for one; they do not use up their attempts."""

from __future__ import annotations

from brikk_workflow.clients.breakers import FAILURES
from support.scripted_discovery import candidate
from support.workflows import State, World, echo

WORKFLOW = """
name: patient
steps:
  - id: work
    call: {capability: text.work, input: {}}
    retry: {max_attempts: 10, initial: 10ms, max: 10ms}
"""


async def test_steps_wait_while_the_only_agent_cannot_be_reached(world: World) -> None:
    await world.discovery.offer(candidate("gone", "text.work", endpoint="127.0.0.1:9"))
    async with world.service() as client:
        await client.create(WORKFLOW)
        name = await client.start("patient")
        while "step.waiting" not in (kinds := [entry.type for entry in await client.history(name)]):
            pass
        assert kinds.count("step.attempt_failed") == FAILURES
        async with world.agent(text__work=echo()):
            ended = await client.wait(name)
        assert ended.state == State.STATE_SUCCEEDED
        assert ended.steps[0].attempts == FAILURES + 1
