"""Who is to do what: one of the agents that discovery knows of, chosen here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from itertools import islice

import structlog

from brikk_shared.errors import BrikkError
from brikk_shared.selection import Option, Policy, Selector
from brikk_workflow.clients.breakers import Breakers
from brikk_workflow.clients.discovery import Discovery
from brikk_workflow.clients.view import Roster
from brikk_workflow.clients.watch import Watch
from brikk_workflow.clients.work import Outcome
from brikk_workflow.domain.asking import read_ask

log = structlog.get_logger()


class AgentDirectory:
    """Chooses agents from what the watch knows, so that steps in steady state ask nobody.

    While discovery is away what was last known serves on: an agent that left meanwhile costs a
    failed attempt, which is retried elsewhere.
    """

    def __init__(
        self,
        discovery: Discovery,
        watch: Watch,
        selector: Selector,
        breakers: Breakers,
        *,
        chosen: Callable[[Policy], None],
    ) -> None:
        """`chosen` is told the policy of each choice."""
        self._discovery = discovery
        self._watch = watch
        self._selector = selector
        self._breakers = breakers
        self._chosen = chosen
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def learn(self, organization: str, capabilities: Collection[str]) -> None:
        """Returns once discovery was asked for each of them: at once when it was before.

        One that it does not answer is left to the watch; nobody offers it until then.
        """
        unknown = [each for each in capabilities if not self._knows(organization, each)]
        if unknown:
            await asyncio.gather(*(self._ask(organization, each) for each in unknown))

    def choose(
        self,
        organization: str,
        capability: str,
        *,
        policy: Policy = Policy.BEST,
        avoid: Collection[str] = (),
        affinity: str = "",
        selector: str = "",
    ) -> Option | None:
        """Returns the agent for a call; None when nobody can be reached that offers the capability.

        The agents `avoid` are taken only when nobody else is there. Calls with the same `affinity`
        go to the same agent while it is fit. Only agents are taken whose labels match `selector`.
        """
        roster = self._watch.roster(organization, capability)
        if roster is not None and selector:
            roster = roster.narrowed(selector)
        if roster is None or not roster.options:
            return None
        option = self._selector.choose(
            roster.group, roster.options, policy=policy, avoid=avoid, affinity=affinity
        )
        if self._breakers.open and option and not self._breakers.lets(option):
            option = self._choose_reachable(roster, policy, avoid)
        if option is None:
            return None
        self._breakers.sent(option)
        self._chosen(policy)
        return option

    def muster(
        self, organization: str, capability: str, *, selector: str, policy: Policy, most: int
    ) -> tuple[str, ...]:
        """Returns the agents that can be reached and whose labels match; of too many, the best."""
        roster = self._watch.roster(organization, capability)
        if roster is None:
            return ()
        roster = roster.narrowed(selector)
        live = [each.agent for each in self._reachable(roster)]
        if len(live) <= most:
            return tuple(live)
        chosen: dict[str, None] = {}
        avoid = {each.agent for each in roster.options}.difference(live)
        while len(chosen) < most:
            option = self._selector.choose(roster.group, roster.options, policy=policy, avoid=avoid)
            if option is None or option.agent in avoid:
                break  # it is left to those who know less of them
            self._chosen(policy)
            chosen[option.agent] = None
            avoid.add(option.agent)
        return tuple([*chosen, *(each for each in live if each not in chosen)][:most])

    def reach(self, organization: str, capability: str, agent: str) -> Option | None:
        """Returns this agent for a call, None when it is not known to offer the capability."""
        option = self.find(organization, capability, agent)
        if option is not None:
            self._breakers.sent(option)
        return option

    def settle(self, option: Option, outcome: Outcome) -> bool:
        """Takes in what became of a call; tells whether it found the agent back in reach."""
        return self._breakers.learn(option, outcome)

    def find(self, organization: str, capability: str, agent: str) -> Option | None:
        """Returns an agent, unless it is not known to offer the capability any more."""
        roster = self._watch.roster(organization, capability)
        return roster.find(agent) if roster else None

    def covers(self, organization: str, capability: str) -> bool:
        """Tells whether it is sure who offers a capability at this moment."""
        return self._watch.covers(organization, capability)

    def available(self, organization: str, asked: str) -> bool:
        """Tells whether those are known, and may be called, who are asked for.

        `asked` is as `asking` writes it. Of one that is asked for by name it is enough to be sure
        that it has left.
        """
        ask = read_ask(asked)
        roster = self._watch.roster(organization, ask.capability)
        if roster is None:
            return False
        if ask.agent:
            gone = self.covers(organization, ask.capability)
            return gone or roster.find(ask.agent) is not None
        reachable = self._reachable(roster.narrowed(ask.selector))
        return len(list(islice(reachable, ask.least))) == ask.least

    def free_slots(self, organization: str, asked: str) -> int | None:
        """Returns how many calls more the agents asked for take; None when one does not say."""
        ask = read_ask(asked)
        roster = self._watch.roster(organization, ask.capability)
        options = roster.narrowed(ask.selector).options if roster else ()
        if not all(each.capacity for each in options):
            return None
        return sum(
            max(0, each.capacity - self._selector.in_flight(organization, each)) for each in options
        )

    async def look(self, organization: str, asked: str) -> bool:
        """Tells whether those asked for are there, and asks discovery if that is not sure."""
        capability = read_ask(asked).capability
        if not self.available(organization, asked) and not self.covers(organization, capability):
            await self._ask(organization, capability)
        return self.available(organization, asked)

    def _reachable(self, roster: Roster) -> Iterator[Option]:
        return (each for each in roster.live() if self._breakers.lets(each))

    def _choose_reachable(
        self, roster: Roster, policy: Policy, avoid: Collection[str]
    ) -> Option | None:
        """Returns the agent for a call when the first choice cannot be reached."""
        shut = {each.agent for each in roster.options if not self._breakers.lets(each)}
        option = self._selector.choose(
            roster.group, roster.options, policy=policy, avoid={*avoid, *shut}
        )
        if option is None or option.agent not in shut:
            return option
        # Better one to be avoided than one that nobody reaches.
        return next((each for each in roster.options if each.agent not in shut), None)

    def _knows(self, organization: str, capability: str) -> bool:
        roster = self._watch.roster(organization, capability)
        return roster is not None and roster.known

    async def _ask(self, organization: str, capability: str) -> None:
        """Asks discovery; those who do so at the same time share one question."""
        key = (organization, capability)
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(
                self._resolve(organization, capability)
            )
            asking.add_done_callback(lambda _: self._asking.pop(key))
        await asyncio.shield(asking)

    async def _resolve(self, organization: str, capability: str) -> None:
        roster = self._watch.want(organization, capability)
        try:
            answer = await self._discovery.resolve(organization, capability)
        except BrikkError as error:
            log.warning("discovery does not answer", capability=capability, reason=error.reason)
            roster.known = True
        else:
            self._watch.answer(organization, capability, answer)
