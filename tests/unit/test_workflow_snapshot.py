"""The stored form of where an execution stands, also of one stored by an earlier release."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from brikk_shared.errors import Reason
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.state import ExecutionState, ExecutionStatus, StepState, StepStatus
from brikk_workflow.domain.state_json import StateJson, state_from_json, state_to_json
from brikk_workflow.domain.usage import NO_USAGE, Usage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = 1_767_225_600_000_000


def test_what_an_earlier_release_stored_is_read() -> None:
    stored = StateJson(
        status="running",
        sequence=4,
        dispatches=3,
        started_at=STAMP,
        deadline=STAMP + 60_000_000,
        ended_at=None,
        failure=None,
        steps={"a": {"status": "running", "attempt": 1, "token": "a-1-3", "started_at": STAMP}},
    )
    state = state_from_json(stored)
    assert state == ExecutionState(
        sequence=4,
        dispatches=3,
        calls=3,
        started_at=NOW,
        deadline=NOW + timedelta(minutes=1),
        steps={"a": StepState(status=StepStatus.RUNNING, attempt=1, token="a-1-3", started_at=NOW)},
    )
    assert (state.usage, state.admitted) == (NO_USAGE, True)
    assert (state.held_at, state.pause_reason) == (None, "")
    del stored["ended_at"], stored["failure"]
    assert state_to_json(state) == stored, "and what it has nothing of is left out"


def test_everything_that_is_stored_comes_back() -> None:
    state = ExecutionState(
        status=ExecutionStatus.PAUSED,
        dispatches=3,
        calls=2,
        usage=Usage(tokens=5, cost_micros=7),
        admitted=False,
        started_at=NOW,
        deadline=NOW,
        held_at=NOW + timedelta(microseconds=1),
        pause_reason="lunch",
        ended_at=NOW + timedelta(days=1),
        failure=Failure(
            code="INTERNAL", reason=Reason.AGENT_FAILED, message="no", metadata={}, retryable=None
        ),
        steps={"a": StepState(status=StepStatus.UNKNOWN)},
    )
    assert state_from_json(json.loads(json.dumps(state_to_json(state)))) == state
