"""Waits: for a time, and for signals, which may come before anybody waits for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from brikk_workflow.domain.compiled import CompiledSignal, CompiledStep, CompiledWait
from brikk_workflow.domain.decision import SignalReceived
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.expression import ExpressionFailed
from brikk_workflow.domain.failure import signal_timeout
from brikk_workflow.domain.kinds import OnTimeout
from brikk_workflow.domain.outcome import Done, Failed, Outcome
from brikk_workflow.domain.payload import Json, PayloadRefused, check
from brikk_workflow.domain.state import StepStatus

KEPT = "/signals"
"""Where signals lie among the outputs that no step took yet, in the order they came."""
MAX_KEPT = 100
"""Most signals of an execution that no step took yet."""


def begin_wait(draft: Draft, path: str, compiled: CompiledStep, work: CompiledWait) -> Outcome:
    """Wait, unless the time has come. Raises ExpressionFailed."""
    until = draft.clock
    if work.kind.duration is not None:
        until += work.kind.duration
    else:
        until = _time(work, work.until.render(draft.scope(path, compiled)))
    if until <= draft.clock:
        return Done()
    _wait(draft, path, until)
    return None


def begin_signal(draft: Draft, path: str, work: CompiledSignal) -> Outcome:
    """Take a signal that came before, or wait for one."""
    name, limit = work.kind.name, work.kind.timeout
    kept = _kept(draft)
    for place, (each, data) in enumerate(kept):
        if each == name:
            draft.accept(KEPT, [list(pair) for pair in kept[:place] + kept[place + 1 :]])
            return Done(data)
    _wait(draft, path, None if limit is None else draft.clock + limit)
    return None


def over(work: CompiledWait | CompiledSignal) -> Outcome:
    """Return what becomes of a step whose wait is over."""
    if isinstance(work, CompiledWait) or work.kind.on_timeout is OnTimeout.CONTINUE:
        return Done()
    assert work.kind.timeout is not None  # it ran out
    return Failed(signal_timeout(work.kind.name, work.kind.timeout))


def receive(draft: Draft, signal: SignalReceived) -> str | None:
    """Return the path of the step that takes a signal; where none does, keep it for one to come."""
    for path, _ in draft.under_way(StepStatus.WAITING):
        work = draft.workflow.at(path).work
        if isinstance(work, CompiledSignal) and work.kind.name == signal.name:
            draft.journal.signalled(signal.name, path)
            return path
    kept = [[*each] for each in (*_kept(draft), (signal.name, signal.data))]
    try:
        check(kept, "signals")
    except PayloadRefused:
        draft.journal.signal_refused(signal.name)
        return None
    if len(kept) > MAX_KEPT:
        draft.journal.signal_refused(signal.name)
        return None
    draft.accept(KEPT, kept)
    draft.journal.signalled(signal.name, "")
    return None


def _wait(draft: Draft, path: str, until: datetime | None) -> None:
    draft.steps[path] = replace(draft.steps[path], status=StepStatus.WAITING, due_at=until)


def _kept(draft: Draft) -> list[tuple[str, Json]]:
    kept = draft.reading.output(KEPT)
    return [(str(name), data) for name, data in kept] if isinstance(kept, list) else []


def _time(work: CompiledWait, value: Json) -> datetime:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError as error:
        problem = f"{value!r} is no time as RFC 3339 writes it"
        raise ExpressionFailed(work.kind.until, problem) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)
