"""Finds an agent for each call of a decision, before the decision is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from brikk_shared.selection import Option
from brikk_workflow.clients.directory import AgentDirectory
from brikk_workflow.domain.decision import AgentMissing, Decision
from brikk_workflow.domain.placement import merge, place, unplaced
from brikk_workflow.domain.state import ExecutionState

Follow = Callable[[ExecutionState, Sequence[AgentMissing]], Decision]
"""Decides what follows when calls have nobody to go to."""


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
    `calling` that is all of them.
    """
    candidates: dict[str, Option] = {}
    while calls := unplaced(decision, candidates):
        if calling:
            await directory.learn(organization, {each.capability for each in calls})
        missing: list[AgentMissing] = []
        for call in calls:
            failure = decision.state.steps[call.step_id].failure
            candidate = calling and directory.choose(
                organization,
                call.capability,
                policy=call.policy,
                affinity=call.affinity,
                avoid=(failure.metadata.get("agent", ""),) if failure else (),
            )
            if not candidate:
                missing.append(AgentMissing(step_id=call.step_id, token=call.token))
            else:
                candidates[call.token] = candidate
        if missing:
            decision = merge(decision, follow(decision.state, missing))
    agents = {token: candidate.agent for token, candidate in candidates.items()}
    return place(decision, agents), candidates
