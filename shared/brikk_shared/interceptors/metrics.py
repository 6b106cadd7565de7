"""Counts and times of calls, under the names that public dashboards and rules for gRPC expect.

The names are those of go-grpc-prometheus, so existing mixins work unchanged. The numbers are plain
ones, put into Prometheus' form when it asks: every call counts seven times, and one thread serves
them all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate

from google.rpc import code_pb2
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from brikk_shared.interceptors.method import Method

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BOUNDS = (*(str(float(bound)) for bound in _BUCKETS), "+Inf")


def _camel(code: str) -> str:
    return _OWN_WAY.get(code) or code.title().replace("_", "")


# As Go writes them, which the names come from: NOT_FOUND is NotFound.
_OWN_WAY = {"OK": "OK", "CANCELLED": "Canceled"}
_CODES: Mapping[str, str] = {code: _camel(code) for code in code_pb2.Code.keys()}  # noqa: SIM118 - not a mapping
_FAULTS = ("UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
"""Codes by which a service says that it failed, not its caller."""


class MethodMetrics:
    """The series of one method, all there from the start, so that rates of rare codes are right."""

    __slots__ = (
        "handled",
        "labels",
        "received_messages",
        "seconds",
        "sent_messages",
        "started",
        "timed",
    )

    def __init__(self, method: Method) -> None:
        self.labels = (method.kind, method.service, method.name)
        self.started = 0
        self.received_messages = 0
        self.sent_messages = 0
        self.handled = dict.fromkeys(_CODES, 0)
        self.seconds = 0.0
        self.timed = [0] * len(_BOUNDS)

    def begin(self) -> None:
        """A call began."""
        self.started += 1

    def received(self) -> None:
        """A message was received."""
        self.received_messages += 1

    def sent(self) -> None:
        """A message was sent."""
        self.sent_messages += 1

    def end(self, code: str, seconds: float) -> None:
        """A call ended with this canonical code."""
        self.handled[code] += 1
        self.seconds += seconds
        self.timed[bisect_left(_BUCKETS, seconds)] += 1


class CallMetrics(Collector):
    """The metrics of all calls of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._methods: list[MethodMetrics] = []
        registry.register(self)

    def of(self, method: Method) -> MethodMetrics:
        """Begins to count the calls of a method."""
        metrics = MethodMetrics(method)
        self._methods.append(metrics)
        return metrics

    def totals(self) -> tuple[int, int, float]:
        """Give how many calls the service answered, how many it failed, and their seconds."""
        failed = sum(each.handled[code] for each in self._methods for code in _FAULTS)
        ended = sum(sum(each.handled.values()) for each in self._methods)
        return ended - failed, failed, sum(each.seconds for each in self._methods)

    def collect(self) -> Iterator[Metric]:
        """Gives the series as they stand."""
        started = CounterMetricFamily("grpc_server_started", "Calls begun.", labels=_LABELS)
        received = CounterMetricFamily(
            "grpc_server_msg_received", "Messages received.", labels=_LABELS
        )
        sent = CounterMetricFamily("grpc_server_msg_sent", "Messages sent.", labels=_LABELS)
        handled = CounterMetricFamily(
            "grpc_server_handled", "Calls ended.", labels=(*_LABELS, "grpc_code")
        )
        seconds = HistogramMetricFamily(
            "grpc_server_handling_seconds",
            "Time from the request to the end of the answer.",
            labels=_LABELS,
        )
        for each in self._methods:
            started.add_metric(each.labels, each.started)
            received.add_metric(each.labels, each.received_messages)
            sent.add_metric(each.labels, each.sent_messages)
            for code, count in each.handled.items():
                handled.add_metric((*each.labels, _CODES[code]), count)
            buckets = list(zip(_BOUNDS, accumulate(each.timed), strict=True))
            seconds.add_metric(each.labels, buckets, each.seconds)
        return iter((started, handled, received, sent, seconds))
