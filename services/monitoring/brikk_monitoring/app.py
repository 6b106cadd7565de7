"""The monitoring service put together."""

from __future__ import annotations

from brikk.event.v1 import event_service_pb2
from brikk.event.v1.event_service_pb2_grpc import add_EventServiceServicer_to_server
from brikk.monitoring.v1 import monitoring_service_pb2
from brikk.monitoring.v1.monitoring_service_pb2_grpc import add_MonitoringServiceServicer_to_server
from brikk_monitoring.api.events import EventServicer
from brikk_monitoring.api.metrics import IngestionMetrics
from brikk_monitoring.api.performance import MonitoringServicer
from brikk_monitoring.settings import MonitoringSettings
from brikk_monitoring.store.apply import Limits
from brikk_monitoring.store.buckets import Buckets
from brikk_monitoring.store.connection import connect
from brikk_monitoring.store.intake import Intake
from brikk_shared.application import Application, run


async def build(settings: MonitoringSettings, app: Application) -> None:
    """Connect the servicers to the store."""
    redis = await app.enter(connect(settings.redis_url))
    limits = Limits(series_cap=settings.series_cap, retention=settings.retention)
    intake = Intake(redis, limits)
    metrics = IngestionMetrics(app.telemetry.registry)
    app.mount(
        add_EventServiceServicer_to_server,
        EventServicer(intake, metrics, app.clock),
        event_service_pb2.DESCRIPTOR.services_by_name["EventService"],
    )
    app.mount(
        add_MonitoringServiceServicer_to_server,
        MonitoringServicer(Buckets(redis), app.clock),
        monitoring_service_pb2.DESCRIPTOR.services_by_name["MonitoringService"],
    )


def main() -> None:
    """Serve until told to stop."""
    run(MonitoringSettings, build)


if __name__ == "__main__":
    main()
