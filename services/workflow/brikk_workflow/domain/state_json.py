"""The JSON form in which the snapshot of an execution is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NotRequired, TypedDict

from brikk_shared.errors import Reason
from brikk_workflow.domain.definition import Budget
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.state import (
    Closing,
    ExecutionState,
    ExecutionStatus,
    Inherited,
    Progress,
    StepState,
    StepStatus,
)
from brikk_workflow.domain.usage import Usage

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class FailureJson(TypedDict):
    """The stored form of a failure."""

    code: str
    reason: str
    message: str
    metadata: Mapping[str, str]
    retryable: bool | None


class _StepJson(TypedDict):
    status: str
    attempt: NotRequired[int]
    token: NotRequired[str]
    agent: NotRequired[str]
    failure: NotRequired[FailureJson]
    started_at: NotRequired[int]
    attempt_at: NotRequired[int]
    due_at: NotRequired[int]
    close_by: NotRequired[int]
    ended_at: NotRequired[int]
    capability: NotRequired[str]
    selector: NotRequired[str]
    progress: NotRequired[Sequence[int]]
    caught: NotRequired[int]
    child: NotRequired[str]


class ClosingJson(TypedDict):
    """The stored form of how an execution is to end."""

    status: str
    failure: FailureJson


class InheritedJson(TypedDict):
    """The stored form of what bounds an execution from above."""

    depth: int
    deadline: int
    budget: Sequence[int | None]


class StateJson(TypedDict):
    """The stored form of a snapshot; times are microseconds since 1970."""

    status: str
    sequence: int
    dispatches: int
    calls: NotRequired[int]
    tokens: NotRequired[int]
    cost_micros: NotRequired[int]
    admitted: NotRequired[bool]
    started_at: int
    deadline: int
    held_at: NotRequired[int]
    pause_reason: NotRequired[str]
    ended_at: NotRequired[int | None]
    failure: NotRequired[FailureJson | None]
    state_version: NotRequired[int]
    undo: NotRequired[int]
    closing: NotRequired[ClosingJson]
    inherited: NotRequired[InheritedJson]
    steps: Mapping[str, _StepJson]


def state_to_json(state: ExecutionState) -> StateJson:
    """Return the stored form, which leaves out what is at its default."""
    stored = StateJson(
        status=state.status.value,
        sequence=state.sequence,
        dispatches=state.dispatches,
        started_at=_to_stamp(state.started_at),
        deadline=_to_stamp(state.deadline),
        steps={step_id: _step_to_json(step) for step_id, step in state.steps.items()},
    )
    if state.calls != state.dispatches:
        stored["calls"] = state.calls
    if state.usage.tokens:
        stored["tokens"] = state.usage.tokens
    if state.usage.cost_micros:
        stored["cost_micros"] = state.usage.cost_micros
    if not state.admitted:
        stored["admitted"] = False
    if state.held_at is not None:
        stored["held_at"] = _to_stamp(state.held_at)
    if state.pause_reason:
        stored["pause_reason"] = state.pause_reason
    if state.ended_at is not None:
        stored["ended_at"] = _to_stamp(state.ended_at)
    if state.failure is not None:
        stored["failure"] = _failure_to_json(state.failure)
    if state.state_version:
        stored["state_version"] = state.state_version
    if state.undo:
        stored["undo"] = state.undo
    if state.closing is not None:
        stored["closing"] = ClosingJson(
            status=state.closing.status.value, failure=_failure_to_json(state.closing.failure)
        )
    if state.inherited is not None:
        of, budget = state.inherited, state.inherited.budget
        stored["inherited"] = InheritedJson(
            depth=of.depth,
            deadline=_to_stamp(of.deadline),
            budget=(budget.calls, budget.tokens, budget.cost_micros),
        )
    return stored


def state_from_json(stored: StateJson) -> ExecutionState:
    """Return the snapshot that `state_to_json` was given."""
    failure, closing = stored.get("failure"), stored.get("closing")
    inherited = stored.get("inherited")
    return ExecutionState(
        status=ExecutionStatus(stored["status"]),
        sequence=stored["sequence"],
        dispatches=stored["dispatches"],
        calls=stored.get("calls", stored["dispatches"]),
        usage=Usage(tokens=stored.get("tokens", 0), cost_micros=stored.get("cost_micros", 0)),
        admitted=stored.get("admitted", True),
        started_at=_from_stamp(stored["started_at"]),
        deadline=_from_stamp(stored["deadline"]),
        held_at=_from_optional_stamp(stored.get("held_at")),
        pause_reason=stored.get("pause_reason", ""),
        ended_at=_from_optional_stamp(stored.get("ended_at")),
        failure=None if failure is None else _failure_from_json(failure),
        state_version=stored.get("state_version", 0),
        undo=stored.get("undo", 0),
        closing=None
        if closing is None
        else Closing(
            status=ExecutionStatus(closing["status"]),
            failure=_failure_from_json(closing["failure"]),
        ),
        inherited=None if inherited is None else _inherited_from_json(inherited),
        steps={step_id: _step_from_json(step) for step_id, step in stored["steps"].items()},
    )


def _step_to_json(step: StepState) -> _StepJson:
    stored = _StepJson(status=step.status.value)
    if step.attempt:
        stored["attempt"] = step.attempt
    if step.token:
        stored["token"] = step.token
    if step.agent:
        stored["agent"] = step.agent
    if step.failure is not None:
        stored["failure"] = _failure_to_json(step.failure)
    if step.started_at is not None:
        stored["started_at"] = _to_stamp(step.started_at)
    if step.attempt_at is not None:
        stored["attempt_at"] = _to_stamp(step.attempt_at)
    if step.due_at is not None:
        stored["due_at"] = _to_stamp(step.due_at)
    if step.close_by is not None:
        stored["close_by"] = _to_stamp(step.close_by)
    if step.ended_at is not None:
        stored["ended_at"] = _to_stamp(step.ended_at)
    if step.capability:
        stored["capability"] = step.capability
    if step.selector:
        stored["selector"] = step.selector
    if step.progress is not None:
        of = step.progress
        stored["progress"] = (of.total, of.begun, of.done, of.failed)
    if step.caught is not None:
        stored["caught"] = step.caught
    if step.child:
        stored["child"] = step.child
    return stored


def _step_from_json(stored: _StepJson) -> StepState:
    failure, progress = stored.get("failure"), stored.get("progress")
    return StepState(
        status=StepStatus(stored["status"]),
        attempt=stored.get("attempt", 0),
        token=stored.get("token", ""),
        agent=stored.get("agent", ""),
        failure=None if failure is None else _failure_from_json(failure),
        started_at=_from_optional_stamp(stored.get("started_at")),
        attempt_at=_from_optional_stamp(stored.get("attempt_at")),
        due_at=_from_optional_stamp(stored.get("due_at")),
        close_by=_from_optional_stamp(stored.get("close_by")),
        ended_at=_from_optional_stamp(stored.get("ended_at")),
        capability=stored.get("capability", ""),
        selector=stored.get("selector", ""),
        progress=None if progress is None else _progress_from_json(progress),
        caught=stored.get("caught"),
        child=stored.get("child", ""),
    )


def _inherited_from_json(stored: InheritedJson) -> Inherited:
    calls, tokens, cost_micros = stored["budget"]
    return Inherited(
        depth=stored["depth"],
        deadline=_from_stamp(stored["deadline"]),
        budget=Budget(calls=calls, tokens=tokens, cost_micros=cost_micros),
    )


def _progress_from_json(stored: Sequence[int]) -> Progress:
    total, begun, done, failed = stored
    return Progress(total=total, begun=begun, done=done, failed=failed)


def _failure_to_json(failure: Failure) -> FailureJson:
    return FailureJson(
        code=failure.code,
        reason=failure.reason.value,
        message=failure.message,
        metadata=failure.metadata,
        retryable=failure.retryable,
    )


def _failure_from_json(stored: FailureJson) -> Failure:
    return Failure(
        code=stored["code"],
        reason=Reason(stored["reason"]),
        message=stored["message"],
        metadata=stored["metadata"],
        retryable=stored["retryable"],
    )


def _to_stamp(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _from_stamp(stamp: int) -> datetime:
    return _EPOCH + stamp * _MICROSECOND


def _from_optional_stamp(stamp: int | None) -> datetime | None:
    return None if stamp is None else _from_stamp(stamp)
