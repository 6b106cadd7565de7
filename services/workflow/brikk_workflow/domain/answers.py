"""What becomes of a step when its call is answered, or never will be."""

from __future__ import annotations

from dataclasses import replace

from brikk_shared.errors import Reason
from brikk_workflow.domain.compiled import CompiledCall, CompiledChild, CompiledSeveral
from brikk_workflow.domain.decision import (
    AgentGone,
    Answer,
    AttemptFailed,
    AttemptSucceeded,
    BidsReceived,
)
from brikk_workflow.domain.doubt import leave_unknown
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.failure import agent_gone
from brikk_workflow.domain.retry import backoff, may_retry
from brikk_workflow.domain.state import StepState, StepStatus
from brikk_workflow.domain.steps import (
    fail,
    go_on,
    muster,
    order,
    proceed,
    run_child,
    succeed,
    take_bids,
    wait,
)

# Of a failed attempt the agent told; of these nobody knows what it did.
_SILENT = frozenset({Reason.STEP_TIMEOUT, Reason.AGENT_UNAVAILABLE})


def take_answer(draft: Draft, event: Answer) -> None:
    """Take in what became of a call, unless its token says that nobody waits for it any more."""
    step = draft.step(event.step_id)
    if not step.token or step.token != event.token:
        draft.journal.late_result(event.step_id, event.token)
    elif isinstance(event, AttemptSucceeded):
        draft.use(event.usage)
        draft.calls += event.calls
        succeed(draft, event.step_id, event.output, event.agent, event.latency, event.usage)
    elif isinstance(event, AttemptFailed):
        _retry_or_fail(draft, step, event)
    elif isinstance(event, BidsReceived):
        take_bids(draft, event)
    else:
        draft.forget(event.token)
        compiled = draft.workflow.at(event.step_id)
        if isinstance(compiled.work, CompiledCall):
            draft.calls -= 1
        if isinstance(event, AgentGone):
            capability = step.capability or compiled.call.kind.capability
            fail(draft, event.step_id, step, agent_gone(step.agent, capability))
        else:
            wait(draft, event.step_id, step)


def lose_calls(draft: Draft) -> None:
    """Make the calls in flight again, for nobody listens for their answers any more.

    What was ordered in the same breath was never given out, so it is not lost. What an earlier
    decision left over goes on.
    """
    for step_id, step in draft.under_way(StepStatus.RUNNING):
        if not step.token or step.token in draft.orders:
            continue
        draft.journal.attempt_lost(step_id, step)
        compiled = draft.workflow.at(step_id)
        work = compiled.work
        if isinstance(work, CompiledSeveral) and draft.running:
            muster(draft, step_id, work)  # a bid binds nobody: they are asked for again
        elif isinstance(work, CompiledCall) and compiled.step.at_most_once is not None:
            leave_unknown(draft, step_id, replace(step, token=""), "the engine stopped meanwhile")
        elif isinstance(work, CompiledChild):
            run_child(draft, step_id, step)  # it runs on, whether this one is held or not
        elif draft.running:
            order(draft, step_id, step, step.attempt, draft.now)
        else:
            wait(draft, step_id, replace(step, attempt_at=draft.clock))
        proceed(draft)
    go_on(draft)


def _retry_or_fail(draft: Draft, step: StepState, event: AttemptFailed) -> None:
    definition = draft.workflow.at(event.step_id).step
    policy = definition.retry
    draft.use(event.usage)
    draft.calls += event.calls
    step = replace(step, token="", agent=event.agent, failure=event.failure)
    unknown = definition.at_most_once is not None and event.failure.reason in _SILENT
    delay = None
    is_call = isinstance(draft.workflow.at(event.step_id).work, CompiledCall)
    if (
        is_call
        and not unknown
        and step.attempt < policy.max_attempts
        and may_retry(event.failure, policy)
    ):
        delay = backoff(policy, step.attempt, draft.random())
        if step.close_by is not None and draft.clock + delay >= step.close_by:
            delay = None
    draft.journal.attempt_failed(event.step_id, step, event.latency, delay, event.usage)
    if unknown:
        leave_unknown(draft, event.step_id, step, event.failure.message, event.latency)
    elif delay is None:
        fail(draft, event.step_id, step, event.failure, event.latency)
    else:
        draft.steps[event.step_id] = replace(
            step, status=StepStatus.BACKING_OFF, due_at=draft.clock + delay
        )
