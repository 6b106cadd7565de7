"""The body of a delivery is a CloudEvent in structured JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from brikk_webhooks.domain.cloudevent import CloudEvent, PayloadMode, render

FULL = PayloadMode.FULL
EVENT = CloudEvent(
    id="e1",
    source="brikk.workflow",
    type="brikk.execution.succeeded.v1",
    subject="executions/x1",
    time=datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC),
    organization="acme",
    sequence=7,
    traceparent="",
    data={"workflow": "triage", "duration_ms": 12.0},
)


def test_renders_every_attribute() -> None:
    assert json.loads(render(EVENT, FULL)) == {
        "specversion": "1.0",
        "id": "e1",
        "source": "brikk.workflow",
        "type": "brikk.execution.succeeded.v1",
        "subject": "executions/x1",
        "time": "2026-01-01T12:00:00.250000Z",
        "organization": "acme",
        "sequence": "0000000000000000007",
        "datacontenttype": "application/json",
        "data": {"workflow": "triage", "duration_ms": 12},
    }


def test_carries_the_trace_when_there_is_one() -> None:
    body = json.loads(render(replace(EVENT, traceparent="00-ab-cd-01"), FULL))
    assert body["traceparent"] == "00-ab-cd-01"


def test_time_is_utc() -> None:
    eastern = replace(EVENT, time=EVENT.time.astimezone(timezone(timedelta(hours=2))))
    assert render(eastern, FULL) == render(EVENT, FULL)


def test_sequences_sort_as_text() -> None:
    rendered = [
        json.loads(render(replace(EVENT, sequence=n), FULL))["sequence"] for n in (2, 10, 2**63)
    ]
    assert rendered == sorted(rendered)


def test_numbers_keep_their_value_and_lose_only_an_empty_fraction() -> None:
    data = {"whole": 3.0, "half": 0.5, "negative": -0.0, "large": 1e300, "list": [1.0, [2.5]]}
    body = render(replace(EVENT, data=data), FULL)
    assert b'"whole":3,' in body
    assert b'"large":1e+300' in body
    assert json.loads(body)["data"] == data


def test_text_goes_out_as_utf_8() -> None:
    data = {"name": "Zoë 🚀", "quote": '" \\ \n'}
    body = render(replace(EVENT, data=data), FULL)
    assert "Zoë 🚀".encode() in body
    assert json.loads(body)["data"] == data


def test_a_thin_body_tells_everything_but_the_data() -> None:
    full = json.loads(render(EVENT, FULL))
    thin = json.loads(render(EVENT, PayloadMode.THIN))
    assert full.keys() - thin.keys() == {"datacontenttype", "data"}
    assert thin.items() <= full.items()
