"""The webhooks service, put together."""

from __future__ import annotations

from functools import partial

from brikk.event.v1 import event_service_pb2
from brikk.event.v1.event_service_pb2_grpc import add_EventServiceServicer_to_server
from brikk.webhooks.v1 import webhook_service_pb2
from brikk.webhooks.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server
from brikk_shared.application import Application, run
from brikk_shared.audit_log import AuditLog
from brikk_shared.ids import new_id
from brikk_shared.leases import Leases
from brikk_shared.marks import gap_counter
from brikk_shared.relays import relayed_outbox
from brikk_shared.resources import report_resources
from brikk_shared.tasks import LocalTasks, Tasks
from brikk_webhooks.api.events import EventServicer
from brikk_webhooks.api.parts import Parts
from brikk_webhooks.api.webhooks import WebhookServicer
from brikk_webhooks.parts import open_parts
from brikk_webhooks.runtime.metrics import StoreGauge
from brikk_webhooks.runtime.tasks import CANCELLATION, DRAIN, REMOVAL, REPLAYS
from brikk_webhooks.settings import WebhooksSettings
from brikk_webhooks.store.resending import Resending
from brikk_webhooks.store.signing_keys import SigningKeys


async def build(settings: WebhooksSettings, app: Application) -> None:
    """Give the application its store, its loops and its servicers."""
    parts = await open_parts(settings, app)
    app.audit(AuditLog(parts.database))
    outbox = relayed_outbox(
        app,
        parts.database,
        Leases(parts.database, new_id(), app.clock),
        producer=settings.service,
        addresses=settings.told,
    )
    report_resources(app, settings.monitoring_address, probes={"database": parts.database.ping})
    tasks: Tasks
    if settings.broker_url is None:
        await parts.queue.recover()
        tasks = local = LocalTasks(app.clock)
        wake = parts.engine(local, outbox, poll=settings.poll_interval).wake
        local.take_on(parts.housekeeping(local, outbox, made=wake))
    else:
        # Here, because loading Celery takes longer than all the rest.
        from brikk_shared.celery_tasks import CeleryTasks

        tasks = CeleryTasks(settings.service, settings.broker_url, app.clock)
        wake = partial(tasks.enqueue, DRAIN)
    for name, loop in tasks.loops.items():
        app.loop(name, loop)
    gauge = StoreGauge(parts.database, parts.queue, parts.key_ring, parts.metrics, app.clock)
    app.loop("store-gauge", gauge.run)

    app.mount(
        add_WebhookServiceServicer_to_server,
        WebhookServicer(
            Parts(
                database=parts.database,
                intake=parts.intake,
                replays=parts.replays,
                resending=Resending(parts.database),
                signing_keys=SigningKeys(parts.database),
                poster=parts.poster,
                egress=parts.egress,
                key_ring=parts.key_ring,
                origin=settings.origin,
                quota=settings.webhook_quota,
                clock=app.clock,
                wake=wake,
                begun=partial(tasks.enqueue, REPLAYS),
                disabled=partial(tasks.enqueue, CANCELLATION),
                deleted=partial(tasks.enqueue, REMOVAL),
            )
        ),
        webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"],
    )
    app.mount(
        add_EventServiceServicer_to_server,
        EventServicer(
            parts.database,
            parts.intake,
            arrived=wake,
            gaps=gap_counter(app.telemetry.registry),
            filter_failures=parts.metrics.filter_failures,
        ),
        event_service_pb2.DESCRIPTOR.services_by_name["EventService"],
    )


def main() -> None:
    """Be the process of the webhooks service."""
    run(WebhooksSettings, build)


if __name__ == "__main__":
    main()
