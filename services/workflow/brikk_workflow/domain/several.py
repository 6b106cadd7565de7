"""Calls of several agents: each is a leg, and enough of them are enough."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil, inf
from typing import cast

from brikk_shared.cel.values import kind_of
from brikk_shared.errors import Reason
from brikk_workflow.domain.compiled import CompiledSeveral, CompiledStep
from brikk_workflow.domain.decision import AgentsFound, AskBids, Bid, BidsReceived, Muster
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.expression import ExpressionFailed
from brikk_workflow.domain.failure import Failure, no_bids
from brikk_workflow.domain.kinds import CallStep, Select
from brikk_workflow.domain.orders import render_call
from brikk_workflow.domain.outcome import Done, Failed, Outcome
from brikk_workflow.domain.payload import Json, check
from brikk_workflow.domain.reading import Reading, agents_of
from brikk_workflow.domain.scope import Scope
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
    """Call those who are there, each on a leg of its own, or ask them for their bids."""
    path = event.step_id
    draft.forget(event.token)
    draft.journal.agents_found(path, event.agents)
    draft.accept(agents_of(path), list(event.agents))
    step = draft.steps[path] = replace(draft.steps[path], token="")
    compiled = draft.workflow.at(path)
    if compiled.call.kind.select is not Select.BIDS:
        count = len(event.agents)
        draft.steps[path] = replace(step, progress=Progress(total=count, begun=count))
        go_on(draft, path)
    elif draft.running:  # or they are asked once it goes on
        draft.dispatches += 1
        token = f"{path}-bids-{draft.dispatches}"
        draft.steps[path] = replace(step, token=token)
        draft.orders[token] = ask_bids(draft.reading, path, compiled, token)


def ask_bids(reading: Reading, path: str, compiled: CompiledStep, token: str) -> AskBids:
    """Return the order for the bids of those who were found.

    Raises ExpressionFailed and PayloadRefused.
    """
    rendered = render_call(compiled, reading.scope(compiled.prefix(path), compiled.body))
    return AskBids(
        step_id=path,
        token=token,
        capability=rendered.capability,
        agents=tuple(cast("list[str]", reading.output(agents_of(path)))),
        input=rendered.input,
        timeout=compiled.call.kind.bidding.timeout,
    )


def award(
    draft: Draft, compiled: CompiledStep, work: CompiledSeveral, event: BidsReceived
) -> Outcome:
    """Call whose bid scores best; the others are called in their order while those before fail.

    Raises ExpressionFailed and PayloadRefused.
    """
    path = event.step_id
    step = draft.steps[path] = replace(draft.steps[path], token="")
    if not event.bids:
        kind = work.call.kind
        return Failed(no_bids(step.capability or kind.capability, kind.bidding.timeout))
    ranked = _ranked(draft.scope(path, compiled), work, event.bids)
    draft.journal.bids_ranked(path, ranked)
    draft.accept(agents_of(path), [each["agent"] for each in ranked])
    draft.steps[path] = replace(step, progress=Progress(total=len(ranked), begun=1))
    go_on(draft, path)
    return None


def _ranked(
    scope: Scope, work: CompiledSeveral, bids: Sequence[Bid]
) -> Sequence[Mapping[str, Json]]:
    """Return the bids with their scores, the best first, without those that cannot be judged.

    Raises ExpressionFailed when that is all of them.
    """
    ranked: list[tuple[float, float, dict[str, Json]]] = []
    problem: ExpressionFailed | None = None
    for bid in bids:
        told: dict[str, Json] = {
            "agent": bid.agent,
            "price": bid.cost_micros / 1_000_000,
            "seconds": bid.seconds,
            "confidence": bid.confidence,
            "capacity": float(bid.capacity),
        }
        variables = {**scope.variables, "bid": told}
        try:
            score = _score(work, replace(scope, variables=variables))
        except ExpressionFailed as error:
            problem = error
            continue
        seconds = inf if bid.seconds is None else bid.seconds
        ranked.append((-score, seconds, {**told, "score": score}))
    if problem is not None and not ranked:
        raise problem
    return [told for _, _, told in sorted(ranked, key=lambda each: each[:2])]


def _score(work: CompiledSeveral, scope: Scope) -> float:
    assert work.score is not None  # bids were asked for
    score = work.score.evaluate(scope)
    if isinstance(score, bool) or not isinstance(score, float | int):
        text = work.call.kind.bidding.score
        raise ExpressionFailed(text, f"the result is {kind_of(score)}, not a number")
    return score


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
    if work.call.kind.select is not Select.ALL:
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
    bids = work.call.kind.select is Select.BIDS
    if bids:
        progress = replace(progress, begun=min(progress.begun + 1, progress.total))
    draft.steps[path] = replace(draft.steps[path], progress=progress)
    left = progress.total - progress.failed
    if left < _needed(work.call.kind, progress.total):
        return Failed(failure)
    if bids:
        if failure.reason is Reason.OUTCOME_UNKNOWN:
            return Failed(failure)  # or two might do it
        go_on(draft, path)
    return None


def clear(draft: Draft, path: str) -> None:
    """Forget what it needed while its legs ran, and those that have not begun."""
    draft.drop(agents_of(path))
    draft.ready = deque(each for each in draft.ready if not each.startswith(f"{path}/"))


def _needed(kind: CallStep, total: int) -> int:
    """Return how many legs must succeed."""
    if kind.select is not Select.ALL:
        return 1
    if kind.quorum is None:
        return total
    return max(kind.quorum.items, ceil(kind.quorum.share * total - 1e-9))


def _progress(draft: Draft, path: str) -> Progress:
    return draft.steps[path].progress or Progress()
