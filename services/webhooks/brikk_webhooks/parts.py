"""What the process of the service and those of its workers are both put together from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from brikk_shared.crypto import SealingError
from brikk_shared.database import Database
from brikk_shared.egress import Egress
from brikk_shared.errors import StartError
from brikk_shared.group_commit import GroupCommit, in_transaction
from brikk_shared.key_ring_file import KeyRingFile
from brikk_shared.outbox import Outbox
from brikk_shared.process import Process
from brikk_shared.tasks import Task, Tasks, Work
from brikk_webhooks.clients.http import HttpPoster
from brikk_webhooks.domain.dispatch import Report
from brikk_webhooks.runtime.dispatcher import Dispatcher
from brikk_webhooks.runtime.housekeeping import Housekeeper
from brikk_webhooks.runtime.metrics import DeliveryMetrics
from brikk_webhooks.runtime.replaying import Replayer
from brikk_webhooks.runtime.reviewing import Reviewer
from brikk_webhooks.runtime.sender import Sender
from brikk_webhooks.runtime.tasks import (
    CANCELLATION,
    ERASURE,
    EXPIRY,
    ORDERS,
    REMOVAL,
    REPLAYS,
    REVIEW,
    SIGNING_KEYS,
)
from brikk_webhooks.runtime.upkeep import KeyUpkeep
from brikk_webhooks.settings import WebhooksSettings
from brikk_webhooks.store.attempts import AttemptLog
from brikk_webhooks.store.cancelling import Cancelling
from brikk_webhooks.store.intake import Intake
from brikk_webhooks.store.lanes import Lane
from brikk_webhooks.store.queue import Queue
from brikk_webhooks.store.replays import Replays
from brikk_webhooks.store.retention import Retention
from brikk_webhooks.store.reviews import Reviews
from brikk_webhooks.store.sealed import count_by_ring_key

_LONGEST_DRAIN = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """What delivers."""

    first_attempts: Dispatcher
    retries: Dispatcher

    def wake(self) -> None:
        """Let both lanes look at the queue now."""
        self.first_attempts.wake()
        self.retries.wake()

    async def drain(self) -> bool:
        """Deliver until nothing more is due, at most 30 s; tell whether something may be left.

        Requests that are under way then go on; their slots are free for others one by one.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_DRAIN.total_seconds()):
                await asyncio.gather(self.first_attempts.look(), self.retries.look())
                return False
        return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The store and what goes out, and what works on them."""

    settings: WebhooksSettings
    process: Process
    database: Database
    key_ring: KeyRingFile
    egress: Egress
    poster: HttpPoster
    metrics: DeliveryMetrics
    queue: Queue
    intake: Intake
    replays: Replays

    def engine(self, tasks: Tasks, outbox: Outbox, *, poll: timedelta | None) -> Engine:
        """Deliver in this process; `poll` is that of `Dispatcher`."""
        settings, process = self.settings, self.process

        def wake() -> None:
            engine.wake()

        log: GroupCommit[Report, bool] = GroupCommit(
            in_transaction(self.database, AttemptLog(self.database, outbox).write),
            keys=lambda report: (report.claim.delivery_id,),
        )
        sender = Sender(
            poster=self.poster,
            key_ring=self.key_ring,
            log=log,
            retry_schedule=settings.retry_schedule,
            lease=settings.claim_lease,
            metrics=self.metrics,
            clock=process.clock,
            wake=wake,
            review=partial(tasks.enqueue, REVIEW),
        )

        def dispatcher(lane: Lane, slots: int) -> Dispatcher:
            return Dispatcher(
                lane,
                self.queue,
                sender.send,
                sender.log,
                slots=slots,
                most=settings.max_in_flight,
                lease=settings.claim_lease,
                poll=poll,
            )

        first_attempts = dispatcher(Lane.FIRST, settings.concurrency)
        retries = dispatcher(Lane.RETRY, settings.retry_concurrency)
        engine = Engine(first_attempts=first_attempts, retries=retries)
        self.metrics.watch_in_flight(lambda: first_attempts.in_flight + retries.in_flight)
        process.loop("attempt-log", log.run)
        process.loop("first-attempts", first_attempts.run)
        process.loop("retries", retries.run)
        process.on_drain(first_attempts.drain)
        process.on_drain(retries.drain)
        return engine

    def housekeeping(
        self, tasks: Tasks, outbox: Outbox, *, made: Callable[[], None]
    ) -> Mapping[Task, Work]:
        """Give the work of the tasks but `DRAIN`; `made` is called when deliveries were made."""
        patience, clock = self.settings.failing_limit, self.process.clock
        reviews = Reviews(self.database, outbox, patience=patience, clock=clock)
        reviewer = Reviewer(reviews, disabled=partial(tasks.enqueue, CANCELLATION))
        retention = Retention(
            self.database,
            payloads=self.settings.payload_retention,
            deliveries=self.settings.delivery_retention,
        )
        housekeeper = Housekeeper(retention, clock)
        return {
            CANCELLATION: Cancelling(self.database).cancel,
            ERASURE: housekeeper.erase,
            EXPIRY: housekeeper.remove,
            REMOVAL: retention.remove_left,
            REPLAYS: Replayer(self.replays, clock, made=made).replay,
            REVIEW: reviewer.review,
            ORDERS: reviewer.mend_orders,
            SIGNING_KEYS: KeyUpkeep(self.database, self.key_ring).tidy,
        }


async def open_parts(settings: WebhooksSettings, process: Process) -> Parts:
    """Open the store, whose migrations are run, and the way out.

    Raises:
        StartError: the key ring cannot be used.
        Unavailable: the store does not answer.
    """
    key_ring = _read_key_ring(settings)
    database = await process.enter(
        Database(settings.database_url, migrations="brikk_webhooks.store.migrations")
    )
    await _check_ring(key_ring, database)
    egress = Egress(settings.egress_allowed)
    poster = await process.enter(
        HttpPoster(
            egress=egress,
            timeout=settings.request_timeout,
            connections=settings.concurrency + settings.retry_concurrency,
        )
    )
    intake = Intake(database)
    return Parts(
        settings=settings,
        process=process,
        database=database,
        key_ring=key_ring,
        egress=egress,
        poster=poster,
        metrics=DeliveryMetrics(process.telemetry.registry),
        queue=Queue(database),
        intake=intake,
        replays=Replays(database, intake),
    )


def _read_key_ring(settings: WebhooksSettings) -> KeyRingFile:
    try:
        return KeyRingFile(settings.key_ring)
    except (OSError, ValueError, SealingError) as error:
        raise StartError(f"cannot use key_ring: {error}") from error


async def _check_ring(key_ring: KeyRingFile, database: Database) -> None:
    async with database.reading() as connection:
        counts = await count_by_ring_key(connection)
    missing = [f"{name!r} ({counts[name]})" for name in sorted(counts.keys() - key_ring.names)]
    if missing:
        raise StartError(
            "cannot use key_ring: it lacks keys that secrets of webhooks are sealed under:"
            f" {', '.join(missing)}"
        )
