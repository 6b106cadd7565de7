"""Times, lengths and latencies as messages."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from brikk.monitoring.v1 import performance_pb2
from brikk_monitoring.domain.measurement import Latency


def latency_message(latency: Latency) -> performance_pb2.Latency:
    """Turn a latency in milliseconds into its message."""
    return performance_pb2.Latency(
        count=latency.count,
        mean=duration(latency.mean_ms),
        p50=duration(latency.p50_ms),
        p95=duration(latency.p95_ms),
        p99=duration(latency.p99_ms),
    )


def timestamp(moment: datetime) -> Timestamp:
    """Turn a moment into its message."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def duration(milliseconds: float) -> Duration:
    """Turn milliseconds into their message."""
    seconds, nanos = divmod(round(milliseconds * 1e6), 10**9)
    return Duration(seconds=seconds, nanos=nanos)
