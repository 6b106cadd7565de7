"""Loops: the same steps again and again, each iteration from the output of the one before."""

from __future__ import annotations

from dataclasses import replace

from brikk_workflow.domain.compiled import CompiledLoop
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.failure import loop_limit
from brikk_workflow.domain.outcome import Done, Failed, Outcome
from brikk_workflow.domain.payload import Json, check
from brikk_workflow.domain.reading import last_of
from brikk_workflow.domain.state import Progress


def begin(draft: Draft, path: str, work: CompiledLoop) -> Outcome:
    """Begin the first iteration, if there is to be one. Raises ExpressionFailed."""
    draft.steps[path] = replace(draft.steps[path], progress=Progress())
    return go_on(draft, path, work)


def go_on(draft: Draft, path: str, work: CompiledLoop) -> Outcome:
    """Begin the next iteration unless one is under way. Raises ExpressionFailed."""
    step = draft.steps[path]
    progress = step.progress or Progress()
    if progress.live or not draft.take_turn():
        return None
    prefix = f"{path}/{progress.begun}/"
    if work.while_ and not work.while_.holds(draft.reading.scope(prefix, work.body)):
        return _end(draft, path, work)
    if progress.begun >= work.kind.max_iterations:
        return Failed(loop_limit(work.kind.max_iterations))
    draft.steps[path] = replace(step, progress=replace(progress, begun=progress.begun + 1))
    draft.enter(prefix, work.body)
    return None


def ended(draft: Draft, path: str, work: CompiledLoop, number: int, output: Json) -> Outcome:
    """Keep an iteration's output and go on. Raises ExpressionFailed and PayloadRefused.

    `until` sees the steps of the iteration, and as `loop.last` what it put out.
    """
    prefix = f"{path}/{number}/"
    _keep(draft, path, work, output)
    draft.reading.forget(prefix)
    over = work.until is not None and work.until.holds(draft.reading.scope(prefix, work.body))
    draft.forget_scope(prefix, work.body)
    step = draft.steps[path]
    progress = step.progress or Progress()
    draft.steps[path] = replace(step, progress=replace(progress, done=progress.done + 1))
    return _end(draft, path, work) if over else go_on(draft, path, work)


def clear(draft: Draft, path: str) -> None:
    """Forget what a loop needed while it ran."""
    draft.drop(last_of(path))


def _keep(draft: Draft, path: str, work: CompiledLoop, output: Json) -> None:
    if work.kind.keep_last is None:
        draft.accept(last_of(path), output)
        return
    kept = draft.reading.output(last_of(path))
    outputs = [*(kept if isinstance(kept, list) else ()), output]
    outputs = outputs[max(0, len(outputs) - work.kind.keep_last) :]
    check(outputs, "output")
    draft.accept(last_of(path), outputs)


def _end(draft: Draft, path: str, work: CompiledLoop) -> Outcome:
    last = draft.reading.output(last_of(path))
    return Done([] if last is None and work.kind.keep_last is not None else last)
