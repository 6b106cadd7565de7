"""Calls of several agents at once: each is a leg, and enough of them are enough."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from math import ceil

from brikk_workflow.domain.compiled import CompiledSeveral, CompiledStep
from brikk_workflow.domain.decision import AgentsFound, Muster
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.kinds import CallStep, Select
from brikk_workflow.domain.orders import render_call
from brikk_workflow.domain.outcome import Done, Failed, Outcome
from brikk_workflow.domain.payload import Json, check
from brikk_workflow.domain.reading import agents_of
from brikk_workflow.domain.state import Progress, StepStatus


def begin(draft: Draft, path: str, compiled: CompiledStep, work: CompiledSeveral) -> Outcome:
    """Ask who is there. Raises ExpressionFailed and PayloadRefused."""
    rendered = render_call(compiled, draft.scope(path, compiled))
    kind, step = work.call.kind, draft.steps[path]
    draft.dispatches += 1
    token = f"{path}-0-{draft.dispatches}"
    draft.steps[path] = replace(
        step,
        status=StepStatus.RUNNING,
        token=token,
        attempt_at=step.attempt_at or draft.now,
        due_at=None,
        capability=rendered.capability if rendered.capability != kind.capability else "",
        selector=rendered.selector if rendered.selector != kind.selector else "",
    )
    draft.orders[token] = Muster(
        step_id=path,
        token=token,
        capability=rendered.capability,
        selector=rendered.selector,
        policy=kind.policy,
        least=least_of(kind),
        most=kind.max_agents,
    )
    return None


def least_of(kind: CallStep) -> int:
    """Return how many agents there must be before any is called."""
    return max(1, kind.quorum.items) if kind.quorum else 1


def found(draft: Draft, event: AgentsFound) -> None:
    """Call those who are there, each on a leg of its own."""
    path = event.step_id
    draft.forget(event.token)
    draft.accept(agents_of(path), list(event.agents))
    count = len(event.agents)
    draft.steps[path] = replace(
        draft.steps[path], token="", progress=Progress(total=count, begun=count)
    )
    draft.journal.agents_found(path, event.agents)
    go_on(draft, path)


def go_on(draft: Draft, path: str) -> None:
    """Let the legs begin that have not."""
    legs = (f"{path}/{number}" for number in range(_progress(draft, path).begun))
    draft.ready.extend(leg for leg in legs if leg not in draft.steps)


def ended(draft: Draft, path: str, work: CompiledSeveral, number: int, output: Json) -> Outcome:
    """Take in what a leg put out; when that is enough the others are cancelled.

    Raises PayloadRefused.
    """
    progress = _progress(draft, path)
    progress = replace(progress, done=progress.done + 1)
    step = draft.steps[path] = replace(draft.steps[path], progress=progress)
    if progress.done < _needed(work.call.kind, progress.total):
        return None
    draft.cancel_inside(f"{path}/")
    if work.call.kind.select is Select.RACE:
        draft.steps[path] = replace(step, agent=draft.steps[f"{path}/{number}"].agent)
        return Done(output)
    agents = draft.reading.output(agents_of(path))
    assert isinstance(agents, list)  # they were found
    answers: list[Json] = [
        {"agent": agent, "output": draft.reading.output(f"{path}/{leg}")}
        for leg, agent in enumerate(agents)
    ]
    check(answers, "output")
    return Done(answers)


def failed(draft: Draft, path: str, work: CompiledSeveral, failure: Failure) -> Outcome:
    """Go on without a leg while enough of the others may succeed."""
    progress = _progress(draft, path)
    progress = replace(progress, failed=progress.failed + 1)
    draft.steps[path] = replace(draft.steps[path], progress=progress)
    left = progress.total - progress.failed
    return Failed(failure) if left < _needed(work.call.kind, progress.total) else None


def clear(draft: Draft, path: str) -> None:
    """Forget what it needed while its legs ran, and those that have not begun."""
    draft.drop(agents_of(path))
    draft.ready = deque(each for each in draft.ready if not each.startswith(f"{path}/"))


def _needed(kind: CallStep, total: int) -> int:
    """Return how many legs must succeed."""
    if kind.select is Select.RACE:
        return 1
    if kind.quorum is None:
        return total
    return max(kind.quorum.items, ceil(kind.quorum.share * total - 1e-9))


def _progress(draft: Draft, path: str) -> Progress:
    return draft.steps[path].progress or Progress()
