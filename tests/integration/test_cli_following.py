"""An execution is followed through the death of the replica that told of it."""

from __future__ import annotations

import asyncio
import io
from datetime import timedelta

from rich.console import Console

from brikk_agent.connection import Connection
from brikk_cli.client import Services
from brikk_cli.follow import follow
from brikk_cli.ports import Ports
from support.chaos import let_leases_end
from support.gates import Gate
from support.workflows import State, World, echo

CHAIN = """
name: chain
steps:
  - id: first
    call: {capability: text.one, input: {n: "${input.n}"}}
  - id: second
    call: {capability: text.two, input: {n: "${steps.first.output.n}"}}
"""
PATIENCE = timedelta(seconds=60)


class Screen(io.StringIO):
    """What is printed, from whichever thread; `until` waits for a text."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._written = asyncio.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        self._loop.call_soon_threadsafe(self._written.set)
        return written

    async def until(self, text: str) -> None:
        async with asyncio.timeout(30):
            while text not in self.getvalue():
                self._written.clear()
                await self._written.wait()


async def test_a_follower_outlives_the_replica_and_sees_each_fact_once(world: World) -> None:
    gate = Gate()
    address = Ports.free().address("workflow")
    token = world.tokens.user("acme", "workflow.read")
    connection = Connection(addresses={"workflow": address}, token=token)
    lines = Screen()
    async with (
        world.agent(text__one=echo(), text__two=gate.work) as agent,
        Services(connection, patience=PATIENCE) as services,
        asyncio.TaskGroup() as group,
    ):
        async with world.process(listen=address) as first:
            await first.client.create(CHAIN)
            name = await first.client.start("chain", {"n": 1})
            plain = Console(file=lines, width=1000)
            followed = group.create_task(follow(services, name, plain))
            await agent.until(lambda agent: agent.calls["text.two"] == 1)
            await lines.until("step.succeeded first")
            await first.process.kill()
        gate.open.set()
        await let_leases_end(world.database_url)
        async with world.process(listen=address) as second:
            assert (await followed).state == State.STATE_SUCCEEDED
            history = await second.client.history(name)
        told = [each.type for each in history]
        assert "step.attempt_lost" in told
        assert [line.split()[2] for line in lines.getvalue().splitlines()] == told


async def test_a_terminal_sees_the_tree_while_it_grows(world: World) -> None:
    gate = Gate()
    screen = Screen()
    async with (
        world.agent(text__one=echo(), text__two=gate.work) as agent,
        world.service() as client,
        Services(
            Connection(
                addresses={"workflow": client.address},
                token=world.tokens.user("acme", "workflow.read"),
            )
        ) as services,
        asyncio.TaskGroup() as group,
    ):
        await client.create(CHAIN)
        name = await client.start("chain", {"n": 1})
        terminal = Console(file=screen, width=160, force_terminal=True, color_system=None)
        followed = group.create_task(follow(services, name, terminal))
        await agent.until(lambda agent: agent.calls["text.two"] == 1)
        await screen.until("└── second  running  text.two  agents/one")
        gate.open.set()
        assert (await followed).state == State.STATE_SUCCEEDED
