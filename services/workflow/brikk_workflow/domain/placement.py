"""Which agent each ordered call goes to, written into the decision before it is committed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from brikk_workflow.domain.decision import Call, CancelCall, Decision, Muster


def unplaced(decision: Decision, placed: Collection[str]) -> list[Call | Muster]:
    """Returns the orders that need agents and whose token is not among those placed."""
    return [
        each
        for each in decision.commands
        if isinstance(each, Call | Muster) and each.token not in placed
    ]


def place(decision: Decision, agents: Mapping[str, str]) -> Decision:
    """Returns the decision with the agent of each call, by token, in its state and history."""
    steps = dict(decision.state.steps)
    placed: dict[str, str] = {}
    for command in decision.commands:
        if isinstance(command, Call):
            placed[command.token] = agent = agents[command.token]
            steps[command.step_id] = replace(steps[command.step_id], agent=agent)
    if not placed:
        return decision
    history = list(decision.history)
    for index, entry in enumerate(history):
        if entry.type == "step.attempt_started":
            token = entry.attributes["token"]
            if isinstance(token, str) and token in placed:
                attributes = {**entry.attributes, "agent": placed[token]}
                history[index] = replace(entry, attributes=attributes)
    return replace(decision, state=replace(decision.state, steps=steps), history=tuple(history))


def merge(first: Decision, then: Decision) -> Decision:
    """Returns two decisions, the second made on the state of the first, as one.

    A call of the first whose step the second moved on is no longer ordered.
    """
    wanted = {(step_id, step.token) for step_id, step in then.state.steps.items() if step.token}
    kept = [
        each
        for each in first.commands
        if isinstance(each, CancelCall) or (each.step_id, each.token) in wanted
    ]
    return Decision(
        state=then.state,
        history=(*first.history, *then.history),
        commands=(*kept, *then.commands),
        announcements=(*first.announcements, *then.announcements),
        outputs={
            path: output
            for path, output in {**first.outputs, **then.outputs}.items()
            if path in then.outputs or path not in then.dropped
        },
        dropped=(*first.dropped, *then.dropped),
        output=then.output if then.state.status.terminal else first.output,
        unfinished=first.unfinished or then.unfinished,
    )
