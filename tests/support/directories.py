"""A directory of agents on scripted discovery, with all that it stands on."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from brikk_shared.selection import Policy, Selector
from brikk_shared.testing import ManualClock
from brikk_workflow.clients.breakers import Breakers
from brikk_workflow.clients.directory import AgentDirectory
from brikk_workflow.clients.watch import GATHERING, LONGEST_PAUSE, Watch
from support.running import running
from support.scripted_discovery import ScriptedDiscovery, candidate


class Setting:
    """A directory under test, the watch beneath it, and the discovery that both ask.

    `told` gathers who was offered after a change. The watch does nothing until it is `watching`.
    """

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.discovery = ScriptedDiscovery()
        self.choices: Counter[Policy] = Counter()
        self.told: list[tuple[str, str]] = []
        self.watch = Watch(self.discovery, clock=self.clock, random=lambda: 0.5)
        self.watch.subscribe(self._note)
        self.selector = Selector(
            clock=self.clock,
            random=random.Random(1),
        )
        self.breakers = Breakers(self.clock)
        self.directory = AgentDirectory(
            self.discovery,
            self.watch,
            self.selector,
            self.breakers,
            chosen=lambda policy: self.choices.update([policy]),
        )
        self._changed = asyncio.Event()

    def _note(self, organization: str, capability: str) -> None:
        self.told.append((organization, capability))
        self._changed.set()

    async def offer(self, agents: Mapping[str, Sequence[str]]) -> None:
        """Makes agents offer capabilities, by capability."""
        await self.discovery.offer(
            *(candidate(agent, capability) for capability in agents for agent in agents[capability])
        )

    async def choose(
        self,
        capability: str = "t",
        *,
        organization: str = "acme",
        policy: Policy = Policy.BEST,
        avoid: Collection[str] = (),
    ) -> str | None:
        """The id of the agent for a call, discovery having been asked if need be."""
        await self.directory.learn(organization, [capability])
        names = [f"agents/{each}" for each in avoid]
        chosen = self.directory.choose(organization, capability, policy=policy, avoid=names)
        return chosen.agent.removeprefix("agents/") if chosen else None

    def known(self, capability: str = "t", organization: str = "acme") -> set[str]:
        """The ids of those who are known to offer a capability."""
        roster = self.watch.roster(organization, capability)
        return {each.agent.removeprefix("agents/") for each in roster.options} if roster else set()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Runs the watch while the block does."""
        async with running(self.watch.run):
            yield

    async def until(self, condition: Callable[[], bool]) -> None:
        """Lets everything run on until a condition holds, while the clock stands still."""
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - tasks of many kinds make it hold
                await asyncio.sleep(0)

    async def until_told(self) -> None:
        """Waits until somebody is offered after a change."""
        self._changed.clear()
        await self._changed.wait()

    async def until_live(self, capability: str = "t", organization: str = "acme") -> None:
        """Waits until the watch covers a capability, moving the clock if it needs that."""
        async with asyncio.timeout(20):
            while not self.watch.covers(organization, capability):
                self.clock.advance(GATHERING + LONGEST_PAUSE)
                await asyncio.sleep(0)
