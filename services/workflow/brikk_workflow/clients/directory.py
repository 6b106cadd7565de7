"""Who is to do what: one of the agents that discovery knows of, chosen here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from brikk_shared.errors import BrikkError
from brikk_shared.selection import Option, Policy, Selector
from brikk_workflow.clients.breakers import Breakers
from brikk_workflow.clients.discovery import Discovery
from brikk_workflow.clients.view import Roster
from brikk_workflow.clients.watch import Watch
from brikk_workflow.clients.work import Outcome

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
    ) -> Option | None:
        """Returns the agent for a call; None when nobody can be reached that offers the capability.

        The agents `avoid` are taken only when nobody else is there. Calls with the same `affinity`
        go to the same agent while it is fit.
        """
        roster = self._watch.roster(organization, capability)
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

    def settle(self, option: Option, outcome: Outcome) -> bool:
        """Takes in what became of a call; tells whether it found the agent back in reach."""
        return self._breakers.learn(option, outcome)

    def find(self, organization: str, capability: str, agent: str) -> Option | None:
        """Returns an agent, unless it is not known to offer the capability any more."""
        roster = self._watch.roster(organization, capability)
        return roster.find(agent) if roster else None

    def available(self, organization: str, capability: str) -> bool:
        """Tells whether anybody is known who offers the capability and may be called now."""
        roster = self._watch.roster(organization, capability)
        if roster is None:
            return False
        return any(self._breakers.lets(each) for each in roster.options)

    def free_slots(self, organization: str, capability: str) -> int | None:
        """Returns how many calls more the agents take; None when one does not say."""
        roster = self._watch.roster(organization, capability)
        options = roster.options if roster else ()
        if not all(each.capacity for each in options):
            return None
        return sum(
            max(0, each.capacity - self._selector.in_flight(organization, each)) for each in options
        )

    async def look(self, organization: str, capability: str) -> bool:
        """Tells whether anybody offers the capability, and asks discovery if that is not sure."""
        if not self.available(organization, capability) and not self._watch.covers(
            organization, capability
        ):
            await self._ask(organization, capability)
        return self.available(organization, capability)

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
