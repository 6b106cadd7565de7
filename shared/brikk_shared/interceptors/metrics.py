"""Counts and times of calls, under the names that public dashboards and rules for gRPC expect.

The names are those of go-grpc-prometheus, so existing mixins work unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.rpc import code_pb2
from prometheus_client import CollectorRegistry, Counter, Histogram

from brikk_shared.interceptors.method import Method

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


def _camel(code: str) -> str:
    return "OK" if code == "OK" else code.title().replace("_", "")


# NOT_FOUND is NotFound in the label, and OK is OK.
_CODES: Mapping[str, str] = {code: _camel(code) for code in code_pb2.Code.keys()}  # noqa: SIM118 - not a mapping


class MethodMetrics:
    """The series of one method, all there from the start, so that rates of rare codes are right."""

    def __init__(self, metrics: CallMetrics, method: Method) -> None:
        labels = (method.kind, method.service, method.name)
        self._started = metrics.started.labels(*labels)
        self._received = metrics.received.labels(*labels)
        self._sent = metrics.sent.labels(*labels)
        self._seconds = metrics.seconds.labels(*labels)
        self._handled = {
            code: metrics.handled.labels(*labels, label) for code, label in _CODES.items()
        }

    def begin(self) -> None:
        """A call began, with its request."""
        self._started.inc()
        self._received.inc()

    def sent(self) -> None:
        """A message was sent."""
        self._sent.inc()

    def end(self, code: str, seconds: float) -> None:
        """A call ended with this canonical code."""
        self._handled[code].inc()
        self._seconds.observe(seconds)


class CallMetrics:
    """The metrics of all calls of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.started = Counter("grpc_server_started", "Calls begun.", _LABELS, registry=registry)
        self.handled = Counter(
            "grpc_server_handled", "Calls ended.", (*_LABELS, "grpc_code"), registry=registry
        )
        self.received = Counter(
            "grpc_server_msg_received", "Messages received.", _LABELS, registry=registry
        )
        self.sent = Counter("grpc_server_msg_sent", "Messages sent.", _LABELS, registry=registry)
        self.seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from the request to the end of the answer.",
            _LABELS,
            buckets=_BUCKETS,
            registry=registry,
        )
