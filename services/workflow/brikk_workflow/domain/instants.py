"""Steps that are over as soon as they begin: set, emit, fail; and switches with no case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from brikk_workflow.domain.compiled import (
    CompiledEmit,
    CompiledFail,
    CompiledSet,
    CompiledStep,
    CompiledSwitch,
)
from brikk_workflow.domain.draft import Draft
from brikk_workflow.domain.failure import failed_by_author, state_conflict
from brikk_workflow.domain.outcome import Done, Failed, Outcome
from brikk_workflow.domain.payload import Json, check
from brikk_workflow.domain.reading import STATE
from brikk_workflow.domain.template import as_text

MAX_EVENT = 1 << 16
"""Most bytes of an event's data."""


def set_state(draft: Draft, path: str, compiled: CompiledStep, work: CompiledSet) -> Outcome:
    """Write members of the shared state. Raises ExpressionFailed and PayloadRefused."""
    scope = draft.scope(path, compiled)
    if work.if_version is not None:
        expected = work.if_version.evaluate(scope)
        if expected != draft.state_version:
            return Failed(state_conflict(as_text(expected), draft.state_version))
    values = cast("Mapping[str, Json]", work.values.render(scope))
    state = {**draft.reading.state(), **values}
    check(state, "state")
    draft.accept(STATE, state)
    draft.state_version += 1
    draft.reading.state_written(draft.state_version)
    return Done()


def emit(draft: Draft, path: str, compiled: CompiledStep, work: CompiledEmit) -> Outcome:
    """Announce an event. Raises ExpressionFailed and PayloadRefused."""
    data = cast("Mapping[str, Json]", work.data.render(draft.scope(path, compiled)))
    check(data, "data", max_bytes=MAX_EVENT)
    draft.journal.emitted(path, work.kind.type, data)
    return Done()


def fail(draft: Draft, path: str, compiled: CompiledStep, work: CompiledFail) -> Outcome:
    """Fail for the reason of the author's own. Raises ExpressionFailed and PayloadRefused."""
    message = as_text(work.message.render(draft.scope(path, compiled)))
    return Failed(failed_by_author(work.kind.reason, message))


def switch(draft: Draft, path: str, compiled: CompiledStep, work: CompiledSwitch) -> Outcome:
    """Begin the steps of the first case that holds. Raises ExpressionFailed."""
    scope = draft.scope(path, compiled)
    for condition, body in work.cases:
        if condition is None or condition.holds(scope):
            draft.enter(f"{path}/", body)
            return None
    return Done()
