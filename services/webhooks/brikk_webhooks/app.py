"""The webhooks service, put together."""

from __future__ import annotations

from brikk.event.v1 import event_service_pb2
from brikk.event.v1.event_service_pb2_grpc import add_EventServiceServicer_to_server
from brikk.webhooks.v1 import webhook_service_pb2
from brikk.webhooks.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server
from brikk_shared.application import Application, run
from brikk_shared.audit_log import AuditLog
from brikk_shared.crypto import KeyRing, SealingError
from brikk_shared.database import Database
from brikk_shared.egress import Egress
from brikk_shared.errors import StartError
from brikk_shared.group_commit import GroupCommit, in_transaction
from brikk_shared.ids import new_id
from brikk_shared.leases import Leases
from brikk_shared.marks import gap_counter
from brikk_shared.relays import relayed_outbox
from brikk_webhooks.api.events import EventServicer
from brikk_webhooks.api.webhooks import WebhookServicer
from brikk_webhooks.clients.http import HttpPoster
from brikk_webhooks.domain.dispatch import Report
from brikk_webhooks.runtime.cancelling import Canceller
from brikk_webhooks.runtime.dispatcher import Dispatcher
from brikk_webhooks.runtime.metrics import DeliveryMetrics, QueueGauge
from brikk_webhooks.runtime.replaying import Replayer
from brikk_webhooks.runtime.reviewing import Reviewer
from brikk_webhooks.runtime.sender import Sender
from brikk_webhooks.runtime.upkeep import KeyUpkeep
from brikk_webhooks.settings import WebhooksSettings
from brikk_webhooks.store.attempts import AttemptLog
from brikk_webhooks.store.cancelling import Cancelling
from brikk_webhooks.store.intake import Intake
from brikk_webhooks.store.queue import Lane, Queue
from brikk_webhooks.store.replays import Replays
from brikk_webhooks.store.reviews import Reviews
from brikk_webhooks.store.sealed import count_by_ring_key


async def build(settings: WebhooksSettings, app: Application) -> None:
    """Give the application its store, its loops and its servicers."""
    key_ring = _read_key_ring(settings)
    database = await app.enter(
        Database(settings.database_url, migrations="brikk_webhooks.store.migrations")
    )
    app.audit(AuditLog(database))
    await _check_ring(key_ring, database)
    queue = Queue(database)
    await queue.recover()

    egress = Egress(settings.egress_allowed)
    metrics = DeliveryMetrics(app.telemetry.registry)
    poster = await app.enter(
        HttpPoster(
            egress=egress,
            timeout=settings.request_timeout,
            connections=settings.concurrency + settings.retry_concurrency,
        )
    )
    outbox = relayed_outbox(
        app,
        database,
        Leases(database, new_id(), app.clock),
        producer="webhooks",
        addresses={"monitoring": settings.monitoring_address},
    )
    canceller = Canceller(Cancelling(database))
    reviews = Reviews(database, outbox, patience=settings.failing_limit, clock=app.clock)
    reviewer = Reviewer(reviews, disabled=canceller.wake)

    def wake() -> None:
        first_attempts.wake()
        retries.wake()

    log: GroupCommit[Report, bool] = GroupCommit(
        in_transaction(database, AttemptLog(database).write),
        keys=lambda report: (report.claim.delivery_id,),
    )
    sender = Sender(
        poster=poster,
        key_ring=key_ring,
        log=log,
        retry_schedule=settings.retry_schedule,
        lease=settings.claim_lease,
        metrics=metrics,
        clock=app.clock,
        wake=wake,
        review=reviewer.wake,
    )

    def dispatcher(lane: Lane, slots: int) -> Dispatcher:
        return Dispatcher(
            lane,
            queue,
            sender.send,
            sender.log,
            slots=slots,
            most=settings.max_in_flight,
            lease=settings.claim_lease,
            poll=settings.poll_interval,
        )

    first_attempts = dispatcher(Lane.FIRST, settings.concurrency)
    retries = dispatcher(Lane.RETRY, settings.retry_concurrency)
    intake = Intake(database)
    replays = Replays(database, intake)
    replayer = Replayer(replays, made=first_attempts.wake)
    metrics.watch_in_flight(lambda: first_attempts.in_flight + retries.in_flight)
    app.loop("attempt-log", log.run)
    app.loop("first-attempts", first_attempts.run)
    app.loop("retries", retries.run)
    app.loop("cancellations", canceller.run)
    app.loop("replays", replayer.run)
    app.loop("reviews", reviewer.run)
    app.loop("signing-keys", KeyUpkeep(database, key_ring, app.clock).run)
    app.loop("queue-gauge", QueueGauge(queue, metrics, app.clock).run)
    app.on_drain(first_attempts.drain)
    app.on_drain(retries.drain)

    app.mount(
        add_WebhookServiceServicer_to_server,
        WebhookServicer(
            database,
            intake,
            replays,
            poster,
            egress=egress,
            key_ring=key_ring,
            origin=settings.origin,
            quota=settings.webhook_quota,
            clock=app.clock,
            wake=wake,
            begun=replayer.wake,
            disabled=canceller.wake,
        ),
        webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"],
    )
    app.mount(
        add_EventServiceServicer_to_server,
        EventServicer(
            database,
            intake,
            arrived=first_attempts.wake,
            gaps=gap_counter(app.telemetry.registry),
        ),
        event_service_pb2.DESCRIPTOR.services_by_name["EventService"],
    )


def main() -> None:
    """Be the process of the webhooks service."""
    run(WebhooksSettings, build)


def _read_key_ring(settings: WebhooksSettings) -> KeyRing:
    try:
        return KeyRing.parse(settings.key_ring.read_text())
    except (OSError, ValueError, SealingError) as error:
        raise StartError(f"cannot use key_ring: {error}") from error


async def _check_ring(key_ring: KeyRing, database: Database) -> None:
    async with database.reading() as connection:
        counts = await count_by_ring_key(connection)
    missing = [f"{name!r} ({counts[name]})" for name in sorted(counts.keys() - key_ring.keys)]
    if missing:
        raise StartError(
            "cannot use key_ring: it lacks keys that secrets of webhooks are sealed under:"
            f" {', '.join(missing)}"
        )


if __name__ == "__main__":
    main()
