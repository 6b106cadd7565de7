"""Events as they are made, and as receivers judge them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from brikk.event.v1.event_pb2 import Event
from brikk_shared.errors import InvalidArgument, Reason
from brikk_shared.event import check_event, make_event

TIME = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def test_an_event_carries_what_it_is_made_of() -> None:
    event = make_event(
        source="brikk.workflow",
        type="brikk.execution.succeeded.v1",
        subject="executions/x",
        organization="acme",
        sequence=7,
        time=TIME,
        data={"workflow": "triage", "duration_ms": 12},
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    assert check_event(event) is None
    assert event.time.ToDatetime(tzinfo=UTC) == TIME
    assert event.data["duration_ms"] == 12.0
    assert event.sequence == 7


def test_each_event_has_an_id_of_its_own() -> None:
    ids = {_event("executions/x").id for _ in range(100)}
    assert len(ids) == 100


def test_a_broken_event_is_judged_by_field() -> None:
    event = _event("")
    event.organization = "Not One"
    error = check_event(event)
    assert isinstance(error, InvalidArgument)
    assert error.reason is Reason.INVALID_FIELD
    assert {"subject", "organization"} <= {violation.field for violation in error.violations}


def test_data_that_json_cannot_hold_is_refused_when_the_event_is_made() -> None:
    with pytest.raises(InvalidArgument):
        _event("executions/x", reason="\0")


def _event(subject: str, **data: object) -> Event:
    return make_event(
        source="brikk.workflow",
        type="brikk.execution.started.v1",
        subject=subject,
        organization="acme",
        sequence=1,
        time=TIME,
        data=data,
    )
