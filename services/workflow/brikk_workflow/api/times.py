"""Times between the domain and the messages."""

from __future__ import annotations

from datetime import datetime

from google.protobuf import timestamp_pb2

from brikk_shared.types import to_microseconds


def to_timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    """Returns the message of a moment, None for none."""
    if moment is None:
        return None
    seconds, microseconds = divmod(to_microseconds(moment), 1_000_000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=microseconds * 1000)
