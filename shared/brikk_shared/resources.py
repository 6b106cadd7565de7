"""What a process needs of its machine, reported to monitoring under the organisation `system`."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import grpc
import structlog

from brikk.monitoring.v1.metrics_pb2 import MetricPoint, RecordMetricsRequest
from brikk.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceStub
from brikk_shared.application import Application
from brikk_shared.errors import BrikkError
from brikk_shared.identity import SYSTEM_ORGANIZATION
from brikk_shared.ids import new_id
from brikk_shared.metadata import ORGANIZATION_KEY
from brikk_shared.status import from_rpc_error

Report = Callable[[RecordMetricsRequest], Awaitable[None]]
"""Sends a report, or raises BrikkError."""

Probe = Callable[[], Awaitable[None]]
"""Asks something that the service needs, or raises BrikkError."""

_INTERVAL: Final = 15
"""Seconds between two reports."""
_TICK: Final = timedelta(seconds=1)
"""How often the lag of the loop is looked at."""
_MOST_KEPT: Final = 20
"""Reports that wait for monitoring: five minutes, half as long as it knows that it had one."""

_PAGE_MIB: Final = os.sysconf("SC_PAGE_SIZE") / 2**20
_STATM: Final = Path("/proc/self/statm")
_FILES: Final = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")

_log = structlog.stdlib.get_logger(__name__)


class Resources:
    """Measures the process every 15 seconds. What cannot be sent is sent with the next report.

    Args:
        probes: by what they ask, for instance `database`.
        report: sends what was measured.
    """

    def __init__(self, app: Application, *, probes: Mapping[str, Probe], report: Report) -> None:
        self._service = app.settings.service
        self._calls = app.calls
        self._clock = app.clock
        self._probes = probes
        self._report = report
        self._unsent: deque[RecordMetricsRequest] = deque(maxlen=_MOST_KEPT)
        self._failing = False
        self._processor_s = time.process_time()
        self._moment = self._clock.monotonic()
        self._counted = self._calls.totals()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            lags = [await self._lag() for _ in range(_INTERVAL)]
            points = [*self._process(lags), *self._answered(), *await self._needed()]
            self._unsent.append(RecordMetricsRequest(request_id=new_id(), points=points))
            await self._send()

    async def _lag(self) -> float:
        begun = self._clock.monotonic()
        await self._clock.sleep(_TICK)
        return max(0.0, self._clock.monotonic() - begun - _TICK.total_seconds()) * 1000

    def _process(self, lags: Sequence[float]) -> list[MetricPoint]:
        processor_s, moment = time.process_time(), self._clock.monotonic()
        used = (processor_s - self._processor_s) / max(moment - self._moment, 0.001)
        self._processor_s, self._moment = processor_s, moment
        return [
            self._point("process.cpu_percent", used * 100),
            self._point("process.memory_mib", _memory_mib()),
            # One of them is the one that we list them by.
            self._point("process.open_files", sum(1 for _ in _FILES.iterdir()) - 1),
            *(self._point("process.loop_lag_ms", lag) for lag in lags),
        ]

    def _answered(self) -> list[MetricPoint]:
        before, self._counted = self._counted, self._calls.totals()
        succeeded, failed, seconds = (
            now - then for now, then in zip(self._counted, before, strict=True)
        )
        if not succeeded + failed:
            return []
        mean_ms = seconds * 1000 / (succeeded + failed)
        outcomes = (
            (MetricPoint.OUTCOME_SUCCEEDED, int(succeeded)),
            (MetricPoint.OUTCOME_FAILED, int(failed)),
        )
        return [
            self._point("api.calls_ms", mean_ms, outcome=outcome, count=count)
            for outcome, count in outcomes
            if count
        ]

    async def _needed(self) -> list[MetricPoint]:
        return [await self._ask(f"{name}.ping_ms", probe) for name, probe in self._probes.items()]

    async def _ask(self, metric: str, probe: Probe) -> MetricPoint:
        begun = self._clock.monotonic()
        outcome = MetricPoint.OUTCOME_SUCCEEDED
        try:
            await probe()
        except BrikkError:
            outcome = MetricPoint.OUTCOME_FAILED
        return self._point(metric, (self._clock.monotonic() - begun) * 1000, outcome=outcome)

    async def _send(self) -> None:
        while self._unsent:
            try:
                await self._report(self._unsent[0])
            except BrikkError as error:
                if not self._failing:
                    _log.warning("resources_unreported", reason=error.message)
                self._failing = True
                return
            self._failing = False
            self._unsent.popleft()

    def _point(
        self,
        metric: str,
        value: float,
        *,
        outcome: MetricPoint.Outcome.ValueType = MetricPoint.OUTCOME_UNSPECIFIED,
        count: int = 1,
    ) -> MetricPoint:
        point = MetricPoint(
            metric=metric, value=value, outcome=outcome, count=count, service=self._service
        )
        point.time.FromDatetime(self._clock.now())
        return point


def report_resources(app: Application, address: str | None, *, probes: Mapping[str, Probe]) -> None:
    """Let a service report to monitoring at an address; without one it does not."""
    if address is None:
        return
    stub = MonitoringServiceStub(app.channel(address, scopes=["metrics.write"]))
    metadata = ((ORGANIZATION_KEY, SYSTEM_ORGANIZATION),)

    async def report(request: RecordMetricsRequest) -> None:
        try:
            await stub.RecordMetrics(request, metadata=metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    app.loop("resources", Resources(app, probes=probes, report=report).run)


def _memory_mib() -> float:
    """Of the process; where the system does not tell that, the most it ever had."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * _PAGE_MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
