"""MonitoringService: how the services themselves are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import grpc

from brikk.monitoring.v1 import health_pb2 as pb
from brikk.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceServicer
from brikk_monitoring.api.access import administered_organization
from brikk_monitoring.api.answers import Answers
from brikk_monitoring.api.quantities import duration, timestamp
from brikk_monitoring.domain import health
from brikk_monitoring.domain.health import Health, Vitals
from brikk_monitoring.domain.measurement import Status, Sums
from brikk_monitoring.domain.question import success_ratio
from brikk_monitoring.domain.series import Dimension, group_name, parse_series, series_name
from brikk_monitoring.domain.window import Resolution, Window
from brikk_monitoring.store.buckets import Buckets
from brikk_shared.clock import Clock

_DEFAULT_WINDOW: Final = timedelta(minutes=5)
_REMEMBERED: Final = timedelta(hours=1)
_STATES: Final = {each: pb.ServiceHealth.State.Value(f"STATE_{each.name}") for each in Health}
_NOBODY: Final = pb.ServiceHealth.STATE_UNSPECIFIED


class HealthMethods(MonitoringServiceServicer):
    """Tells administrators what the services report of themselves."""

    def __init__(self, buckets: Buckets, answers: Answers, clock: Clock) -> None:
        self._buckets = buckets
        self._answers = answers
        self._clock = clock

    async def GetSystemHealth(
        self, request: pb.GetSystemHealthRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.SystemHealth:
        """Judge each service by its reports."""
        organization = administered_organization()

        async def work() -> pb.SystemHealth:
            now = self._clock.now()
            length = request.window.ToTimedelta() if request.HasField("window") else None
            minute = Resolution.MINUTE.bucket_of(now)
            window = Window.ending_in(minute, length or _DEFAULT_WINDOW)
            vitals = await self._vitals(organization, window)
            judged = {service: each.health(now) for service, each in vitals.items()}
            return pb.SystemHealth(
                state=max((_STATES[each] for each in judged.values()), default=_NOBODY),
                start_time=timestamp(window.start_time),
                services=[
                    _service(service, vitals[service], judged[service])
                    for service in sorted(vitals)
                ],
            )

        return await self._answers.get(organization, request, work)

    async def _vitals(self, organization: str, window: Window) -> dict[str, Vitals]:
        longer = Window.ending_in(
            window.last, max(_REMEMBERED, window.end_time - window.start_time)
        )
        group = group_name(health.CPU_PERCENT, Dimension.SERVICE)
        ranking = await self._buckets.ranking(organization, group, longer)
        alive = await self._buckets.courses(organization, [name for name, _ in ranking], longer)
        heard = {
            parse_series(name).dimensions[Dimension.SERVICE]: _last(course, longer)
            for name, course in alive.items()
        }
        wanted = {
            (service, metric): series_name(metric, service=service)
            for service in heard
            for metric in health.REPORTED
        }
        sums = await self._buckets.sums(organization, list(wanted.values()), window)
        return {
            service: Vitals(
                reported={metric: sums[wanted[service, metric]] for metric in health.REPORTED},
                heard=moment,
            )
            for service, moment in heard.items()
        }


def _last(course: list[Sums], window: Window) -> datetime:
    """The end of the last minute in which something was counted."""
    number = max(at for at, each in enumerate(course) if each.count) + window.first
    return datetime.fromtimestamp((number + 1) * window.resolution.seconds, UTC)


def _service(service: str, vitals: Vitals, judged: Health) -> pb.ServiceHealth:
    reported = vitals.reported
    calls = reported[health.CALLS_MS]
    return pb.ServiceHealth(
        service=service,
        state=_STATES[judged],
        last_report_time=timestamp(vitals.heard - timedelta(minutes=1)),
        cpu_percent=reported[health.CPU_PERCENT].latency().mean_ms,
        memory_mib=reported[health.MEMORY_MIB].latency().mean_ms,
        open_files=reported[health.OPEN_FILES].latency().mean_ms,
        loop_lag_p99=duration(reported[health.LOOP_LAG_MS].quantile(990)),
        calls=calls.count,
        failed_calls=calls.of(Status.FAILED),
        dependencies=[
            pb.DependencyHealth(
                dependency=name,
                asked=reported[metric].count,
                success_ratio=success_ratio(reported[metric]),
                latency_p95=duration(reported[metric].quantile(950)),
            )
            for name, metric in health.DEPENDENCIES.items()
            if reported[metric].count
        ],
    )
