"""Times between the domain and the messages."""

from __future__ import annotations

from datetime import datetime

from google.protobuf import timestamp_pb2


def to_timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    """Returns the message of a moment, None for none."""
    if moment is None:
        return None
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(moment)
    return message
