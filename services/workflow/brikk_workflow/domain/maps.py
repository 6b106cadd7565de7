"""Maps: the same steps for each item of a list, so many items at once, a few of which may fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from brikk_shared.cel.values import kind_of
from brikk_workflow.domain.compiled import CompiledMap, CompiledStep
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.expression import ExpressionFailed
from brikk_workflow.domain.failure import Failure, too_many
from brikk_workflow.domain.outcome import Done, Failed, Outcome
from brikk_workflow.domain.payload import Json, check
from brikk_workflow.domain.reading import items_of
from brikk_workflow.domain.state import Progress, StepState

MAX_ITEMS = 10_000


def begin(draft: Draft, path: str, compiled: CompiledStep, work: CompiledMap) -> Outcome:
    """Take the list in and begin the first items. Raises ExpressionFailed and PayloadRefused."""
    items = work.over.evaluate(draft.scope(path, compiled))
    if isinstance(items, str) or not isinstance(items, Sequence):
        raise ExpressionFailed(work.kind.over, f"the result is {kind_of(items)}, not a list")
    if len(items) > MAX_ITEMS:
        return Failed(too_many("The list", len(items), MAX_ITEMS))
    if not items:
        return Done([])
    check(items, "over")
    draft.accept(items_of(path), list(items))
    _count(draft, path, Progress(total=len(items)))
    return go_on(draft, path, work)


def go_on(draft: Draft, path: str, work: CompiledMap) -> Outcome:
    """Begin as many items as there is room for."""
    progress = _progress(draft, path)
    begun = progress.begun
    room = min(progress.total, begun + work.kind.max_concurrency - progress.live)
    while begun < room and draft.take_turn():
        draft.enter(f"{path}/{begun}/", work.body)
        begun += 1
    _count(draft, path, replace(progress, begun=begun))
    return None


def ended(draft: Draft, path: str, work: CompiledMap, number: int, output: Json) -> Outcome:
    """Keep what an item put out. Raises PayloadRefused."""
    draft.accept(f"{path}/{number}", output)
    progress = _progress(draft, path)
    return _next(draft, path, work, number, replace(progress, done=progress.done + 1))


def failed(draft: Draft, path: str, work: CompiledMap, number: int, failure: Failure) -> Outcome:
    """Go on without an item, as long as that can be tolerated. Raises PayloadRefused."""
    progress = _progress(draft, path)
    progress = replace(progress, failed=progress.failed + 1)
    tolerate = work.kind.tolerate
    if progress.failed > max(tolerate.items, int(tolerate.share * progress.total + 1e-9)):
        _count(draft, path, progress)
        return Failed(failure)
    return _next(draft, path, work, number, progress)


def clear(draft: Draft, path: str, step: StepState) -> None:
    """Forget what a map needed while it ran."""
    draft.drop(items_of(path))
    for number in range(step.progress.begun if step.progress else 0):
        draft.drop(f"{path}/{number}")


def _next(draft: Draft, path: str, work: CompiledMap, number: int, progress: Progress) -> Outcome:
    draft.forget_scope(f"{path}/{number}/", work.body)
    _count(draft, path, progress)
    if progress.done + progress.failed < progress.total:
        return go_on(draft, path, work)
    outputs = [draft.reading.output(f"{path}/{each}") for each in range(progress.total)]
    check(outputs, "output")
    return Done(outputs)


def _progress(draft: Draft, path: str) -> Progress:
    return draft.steps[path].progress or Progress()


def _count(draft: Draft, path: str, progress: Progress) -> None:
    draft.steps[path] = replace(draft.steps[path], progress=progress)
