"""The body of a delivery: CloudEvents 1.0 in structured JSON, rendered once for all attempts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


class PayloadMode(StrEnum):
    """How much of an event is sent."""

    FULL = "full"
    THIN = "thin"
    """All but its data."""


TEST_TYPE = "brikk.webhook.test.v1"

_EXACT = 2**53


@dataclass(frozen=True, kw_only=True, slots=True)
class CloudEvent:
    """An event as it came in; `data` is JSON."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    organization: str
    sequence: int
    traceparent: str
    data: Mapping[str, object]


def make_trial(webhook_id: str, *, organization: str, event_id: str, time: datetime) -> CloudEvent:
    """Make what shows whether a webhook works."""
    return CloudEvent(
        id=event_id,
        source="brikk.webhooks",
        type=TEST_TYPE,
        subject=f"webhooks/{webhook_id}",
        time=time,
        organization=organization,
        sequence=0,
        traceparent="",
        data={"message": "This is a test: whoever can read and verify it is ready."},
    )


def render(event: CloudEvent, mode: PayloadMode) -> bytes:
    """Write the event as the JSON that is stored, signed and sent.

    `sequence`, a string that sorts, and `traceparent` are extensions that CloudEvents documents;
    `organization` is our own.
    """
    envelope: dict[str, object] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "organization": event.organization,
        "sequence": f"{event.sequence:019d}",
    }
    if event.traceparent:
        envelope["traceparent"] = event.traceparent
    if mode is PayloadMode.FULL:
        envelope["datacontenttype"] = "application/json"
        envelope["data"] = _natural(event.data)
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _natural(value: object) -> object:
    """Write whole numbers without a fraction: all numbers of an event come as doubles."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _EXACT else value
    if isinstance(value, Mapping):
        return {key: _natural(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_natural(member) for member in value]
    return value
