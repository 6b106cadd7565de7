"""Which agent each ordered call goes to, written into the decision before it is committed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from brikk_workflow.domain.decision import Call, Decision, HistoryEntry
from brikk_workflow.domain.state import ExecutionState, StepState


def unplaced(decision: Decision, placed: Collection[str]) -> list[Call]:
    """Returns the ordered calls whose token is not among those placed."""
    return [
        each for each in decision.commands if isinstance(each, Call) and each.token not in placed
    ]


def place(decision: Decision, agents: Mapping[str, str]) -> Decision:
    """Returns the decision with the agent of each call, by token, in its state and history.

    It copies by hand, for every call passes here and `replace` takes three times as long.
    """
    steps = dict(decision.state.steps)
    placed: dict[str, str] = {}
    for command in decision.commands:
        if isinstance(command, Call):
            placed[command.token] = agent = agents[command.token]
            steps[command.step_id] = _at(steps[command.step_id], agent)
    if not placed:
        return decision
    history = list(decision.history)
    for index, entry in enumerate(history):
        if entry.type == "step.attempt_started":
            token = entry.attributes["token"]
            if isinstance(token, str) and token in placed:
                history[index] = _by(entry, placed[token])
    return Decision(
        state=_with_steps(decision.state, steps),
        history=tuple(history),
        commands=decision.commands,
        announcements=decision.announcements,
        outputs=decision.outputs,
        output=decision.output,
    )


def _at(step: StepState, agent: str) -> StepState:
    return StepState(
        status=step.status,
        attempt=step.attempt,
        token=step.token,
        agent=agent,
        failure=step.failure,
        started_at=step.started_at,
        attempt_at=step.attempt_at,
        due_at=step.due_at,
        close_by=step.close_by,
        ended_at=step.ended_at,
    )


def _by(entry: HistoryEntry, agent: str) -> HistoryEntry:
    return HistoryEntry(
        sequence=entry.sequence,
        type=entry.type,
        step_id=entry.step_id,
        time=entry.time,
        attributes={**entry.attributes, "agent": agent},
    )


def _with_steps(state: ExecutionState, steps: Mapping[str, StepState]) -> ExecutionState:
    return ExecutionState(
        status=state.status,
        sequence=state.sequence,
        dispatches=state.dispatches,
        calls=state.calls,
        usage=state.usage,
        admitted=state.admitted,
        started_at=state.started_at,
        deadline=state.deadline,
        held_at=state.held_at,
        pause_reason=state.pause_reason,
        ended_at=state.ended_at,
        failure=state.failure,
        steps=steps,
    )


def merge(first: Decision, then: Decision) -> Decision:
    """Returns two decisions, the second made on the state of the first, as one.

    A call of the first whose step the second moved on is no longer ordered.
    """
    wanted = {(step_id, step.token) for step_id, step in then.state.steps.items() if step.token}
    kept = [
        each
        for each in first.commands
        if not isinstance(each, Call) or (each.step_id, each.token) in wanted
    ]
    return Decision(
        state=then.state,
        history=(*first.history, *then.history),
        commands=(*kept, *then.commands),
        announcements=(*first.announcements, *then.announcements),
        outputs={**first.outputs, **then.outputs},
        output=then.output if then.state.status.terminal else first.output,
    )
