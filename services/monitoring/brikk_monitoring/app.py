"""The monitoring service put together."""

from __future__ import annotations

from functools import partial

from brikk.event.v1 import event_service_pb2
from brikk.event.v1.event_service_pb2_grpc import add_EventServiceServicer_to_server
from brikk.monitoring.v1 import alerting_service_pb2, monitoring_service_pb2
from brikk.monitoring.v1.alerting_service_pb2_grpc import add_AlertingServiceServicer_to_server
from brikk.monitoring.v1.metrics_pb2 import RecordMetricsRequest
from brikk.monitoring.v1.monitoring_service_pb2_grpc import add_MonitoringServiceServicer_to_server
from brikk_monitoring.api.alerting import AlertingServicer
from brikk_monitoring.api.answers import Answers
from brikk_monitoring.api.events import EventServicer
from brikk_monitoring.api.metrics import IngestionMetrics
from brikk_monitoring.api.parts import Parts
from brikk_monitoring.api.performance import MonitoringServicer
from brikk_monitoring.domain.grouping import SHARDS as GROUP_SHARDS
from brikk_monitoring.domain.rule import SHARDS
from brikk_monitoring.parts import open_stores
from brikk_monitoring.runtime.census import StoreGauge
from brikk_monitoring.runtime.evaluator import AlertGauge, AlertMetrics, Evaluator
from brikk_monitoring.runtime.notifier import Notifier
from brikk_monitoring.runtime.reporting import REPORTS
from brikk_monitoring.settings import MonitoringSettings
from brikk_monitoring.store.alerts import Alerts
from brikk_monitoring.store.apply import Limits
from brikk_monitoring.store.connection import telling_failures
from brikk_monitoring.store.evaluations import Evaluations
from brikk_monitoring.store.intake import Intake
from brikk_monitoring.store.inventory import Inventory
from brikk_monitoring.store.telling import Telling
from brikk_shared.application import Application, run
from brikk_shared.audit_log import AuditLog
from brikk_shared.identity import SYSTEM_ORGANIZATION
from brikk_shared.ids import new_id
from brikk_shared.leases import Leases
from brikk_shared.relays import relayed_outbox
from brikk_shared.resources import Resources
from brikk_shared.tasks import LocalTasks, Tasks


async def build(settings: MonitoringSettings, app: Application) -> None:
    """Connect the servicers to the store."""
    stores = await open_stores(settings, app)
    database, redis, buckets = stores.database, stores.redis, stores.buckets
    app.audit(AuditLog(database))
    limits = Limits(series_cap=settings.series_cap, retention=settings.retention)
    intake = Intake(redis, limits)
    metrics = IngestionMetrics(app.telemetry.registry)
    inventory = Inventory(redis)
    app.loop("store gauge", StoreGauge(inventory, app.telemetry.registry, app.clock).run)
    tasks: Tasks
    if settings.broker_url is None:
        tasks = local = LocalTasks(app.clock)
        local.take_on(stores.work(settings, app))
    else:
        # Here, because loading Celery takes longer than all the rest.
        from brikk_shared.celery_tasks import CeleryTasks

        tasks = CeleryTasks(settings.service, settings.broker_url, app.clock)
    for name, loop in tasks.loops.items():
        app.loop(name, loop)
    answers = Answers(
        max_bytes=settings.answers_bytes,
        ttl=settings.answers_ttl,
        clock=app.clock,
        registry=app.telemetry.registry,
    )
    app.mount(
        add_EventServiceServicer_to_server,
        EventServicer(intake, metrics, app.clock),
        event_service_pb2.DESCRIPTOR.services_by_name["EventService"],
    )
    servicer = MonitoringServicer(
        buckets,
        answers,
        intake,
        stores.policies,
        inventory,
        limits,
        metrics,
        stores.reports,
        app.clock,
        ordered=partial(tasks.enqueue, REPORTS),
    )

    async def report(request: RecordMetricsRequest) -> None:
        await servicer.record(SYSTEM_ORGANIZATION, request)

    async def ping() -> None:
        with telling_failures():
            await redis.ping()

    leases = Leases(database, new_id(), app.clock)
    outbox = relayed_outbox(
        app, database, leases, producer=settings.service, addresses=settings.told
    )
    alerts, alert_metrics = Alerts(database, outbox), AlertMetrics(app.telemetry.registry)
    evaluator = Evaluator(
        Evaluations(database, leases, alerts),
        leases,
        buckets,
        stores.policies,
        alert_metrics,
        delay=settings.evaluation_delay,
        clock=app.clock,
    )
    for shard in range(SHARDS):
        app.loop(f"alert rules {shard}", partial(evaluator.run, shard))
    telling = Telling(database, leases, alerts)
    notifier = Notifier(telling, leases, app.telemetry.registry, app.clock)
    for shard in range(GROUP_SHARDS):
        app.loop(f"alert groups {shard}", partial(notifier.run, shard))
    app.loop("alert gauge", AlertGauge(database, alerts, alert_metrics, app.clock).run)
    app.mount(
        add_AlertingServiceServicer_to_server,
        AlertingServicer(
            Parts(
                database=database,
                alerts=alerts,
                buckets=buckets,
                policies=stores.policies,
                evaluator=evaluator,
                telling=telling,
                rule_quota=settings.rule_quota,
                clock=app.clock,
            )
        ),
        alerting_service_pb2.DESCRIPTOR.services_by_name["AlertingService"],
    )

    probes = {"redis": ping, "database": database.ping}
    app.loop("resources", Resources(app, probes=probes, report=report).run)
    app.mount(
        add_MonitoringServiceServicer_to_server,
        servicer,
        monitoring_service_pb2.DESCRIPTOR.services_by_name["MonitoringService"],
    )


def main() -> None:
    """Serve until told to stop."""
    run(MonitoringSettings, build)


if __name__ == "__main__":
    main()
