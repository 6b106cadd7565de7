"""Finds an agent for each call of a decision, before the decision is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from brikk_shared.selection import Option
from brikk_workflow.clients.directory import AgentDirectory
from brikk_workflow.domain.decision import (
    AgentGone,
    AgentMissing,
    AgentsFound,
    Call,
    Decision,
    Muster,
)
from brikk_workflow.domain.placement import merge, place, unplaced

Found: TypeAlias = AgentsFound | AgentMissing | AgentGone
Follow: TypeAlias = Callable[[Decision, Sequence[Found]], Decision]
"""Decides what follows, after a decision, from who is there for it and who is not."""


async def place_calls(
    decision: Decision,
    *,
    directory: AgentDirectory,
    organization: str,
    follow: Follow,
    calling: bool = True,
) -> tuple[Decision, Mapping[str, Option]]:
    """Returns the decision with an agent for each call it still orders, and these by token.

    A retry goes to another agent than the failed attempt where there is one. Calls with nobody
    to go to are decided upon in the same breath, so that one commit records all of it. Unless
    `calling` that is all of them. So are steps that call several, once it is known whom.
    """
    candidates: dict[str, Option] = {}
    while calls := unplaced(decision, candidates):
        if calling:
            await directory.learn(organization, {each.capability for each in calls})
        found: list[Found] = []
        for call in calls:
            option = _seek(decision, call, directory, organization) if calling else _nobody(call)
            if isinstance(option, Option):
                candidates[call.token] = option
            else:
                found.append(option)
        if found:
            decision = merge(decision, follow(decision, found))
    agents = {token: candidate.agent for token, candidate in candidates.items()}
    return place(decision, agents), candidates


def _seek(
    decision: Decision, order: Call | Muster, directory: AgentDirectory, organization: str
) -> Option | Found:
    if isinstance(order, Muster):
        agents = directory.muster(
            organization,
            order.capability,
            selector=order.selector,
            policy=order.policy,
            most=order.most,
        )
        if len(agents) < order.least:
            return _nobody(order)
        return AgentsFound(step_id=order.step_id, token=order.token, agents=agents)
    if order.agent:
        option = directory.reach(organization, order.capability, order.agent)
        if option is None and directory.covers(organization, order.capability):
            return AgentGone(step_id=order.step_id, token=order.token)
        return option or _nobody(order)
    failure = decision.state.steps[order.step_id].failure
    option = directory.choose(
        organization,
        order.capability,
        policy=order.policy,
        affinity=order.affinity,
        selector=order.selector,
        avoid=(failure.metadata.get("agent", ""),) if failure else (),
    )
    return option or _nobody(order)


def _nobody(order: Call | Muster) -> AgentMissing:
    return AgentMissing(step_id=order.step_id, token=order.token)
