"""Makes events, and judges those that others made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from brikk.event.v1.event_pb2 import Event
from brikk_shared.errors import BrikkError
from brikk_shared.ids import new_id
from brikk_shared.structs import fill_struct
from brikk_shared.types import to_microseconds
from brikk_shared.validator import validate


def make_event(
    *,
    source: str,
    type: str,
    subject: str,
    organization: str,
    sequence: int,
    time: datetime,
    data: Mapping[str, object],
    traceparent: str = "",
) -> Event:
    """Make an event with an id of its own; the arguments are the fields of `brikk.event.v1.Event`.

    Raises:
        InvalidArgument: data is nothing that JSON could hold.
    """
    event = Event(
        id=new_id(),
        source=source,
        type=type,
        subject=subject,
        organization=organization,
        sequence=sequence,
        traceparent=traceparent,
    )
    fill_struct(event.data, data, field="data")
    event.time.seconds, microseconds = divmod(to_microseconds(time), 1_000_000)
    event.time.nanos = microseconds * 1000
    return event


def check_event(event: Event) -> BrikkError | None:
    """Tell why an event breaks its contract; None when it does not."""
    try:
        validate(event)
    except BrikkError as error:
        return error
    return None
