"""Times and durations as the messages have them."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf import duration_pb2, timestamp_pb2

from brikk_shared.types import to_microseconds


def to_timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    """The message of a moment, None for none."""
    if moment is None:
        return None
    seconds, microseconds = divmod(to_microseconds(moment), 1_000_000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=microseconds * 1000)


def to_duration(duration: timedelta) -> duration_pb2.Duration:
    """The message of a duration."""
    message = duration_pb2.Duration()
    message.FromTimedelta(duration)
    return message
