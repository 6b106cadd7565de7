"""Carries the outbox to one destination: in order, each event once in effect, however often sent.

    lease -> read the shard's row -> ask the receiver for its mark, with an empty batch
          -> [ delete what is at or below the mark, record the next batch ] -> publish it -> mark
                     ^ one transaction, the shard's row locked                          |
                     +------------------------------------------------------------------+

A batch is recorded before it is sent, so whoever carries on after a crash sends the very same rows
under the same positions, and the receiver's mark tells what it has taken. A mark above the highest
position ever recorded means that this database went back in time; then the positions begin anew in
a new generation, as the receiver would skip them in the old one. (Events that were sent after the
backup was made, and are in the backup, then reach the receiver twice: its marks cannot know them.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, timedelta

import grpc
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishItem, PublishRequest, PublishResponse
from brikk_shared import faults, marks
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import BrikkError, InvalidArgument, Reason, Unavailable
from brikk_shared.leases import Lease, Leases
from brikk_shared.outbox import SHARD, Outbox
from brikk_shared.outbox_shard import Row, Shard, ShardChanged, ShardStore
from brikk_shared.status import from_rpc_error

Publish = Callable[[PublishRequest], Awaitable[PublishResponse]]
"""`EventServiceStub.Publish` of a channel that gives every call a deadline."""

_LEASE = timedelta(seconds=10)
_POLL = timedelta(seconds=1)
"""For rows that other replicas add; those of this process wake the relay."""
_OBSERVATION = timedelta(seconds=5)
_FULL = 250
"""Events of a batch that is worth its transaction without waiting for more."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0

_log = structlog.stdlib.get_logger(__name__)


class RelayMetrics:
    """What all relays of a process count, by destination."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["destination"]
        self.depth = Gauge(
            "brikk_outbox_depth", "Events that wait in the outbox.", labels, registry=registry
        )
        self.oldest = Gauge(
            "brikk_outbox_oldest_seconds",
            "Age of the event that waits longest in the outbox; 0 when none does.",
            labels,
            registry=registry,
        )
        self.published = Counter(
            "brikk_outbox_published_total",
            "Events that the receiver has taken.",
            labels,
            registry=registry,
        )
        self.failures = Counter(
            "brikk_outbox_publish_failures_total",
            "Attempts to publish that failed, and are repeated.",
            labels,
            registry=registry,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    mark: int
    refused: tuple[tuple[PublishItem, BrikkError], ...] = ()
    """What made a call fail even when it was sent alone; kept in our own dead letters."""


class Relay:
    """Carries events to one destination for as long as its process holds the lease of the shard.

    Args:
        producer: this service, as receivers know it, for instance `workflow`.
        destination: one of the outbox's destinations, for instance `webhooks`.
        publish: sends a batch there; it must have a deadline.
        gathering: pause after a batch that was not full, so that under load events share
            transactions. An event that comes after a rest is carried at once.
    """

    def __init__(
        self,
        database: Database,
        leases: Leases,
        outbox: Outbox,
        *,
        producer: str,
        destination: str,
        publish: Publish,
        metrics: RelayMetrics,
        clock: Clock,
        gathering: timedelta = timedelta(0),
    ) -> None:
        self._database = database
        self._leases = leases
        self._news = outbox.news(destination)
        self._producer = producer
        self._destination = destination
        self._publish = publish
        self._clock = clock
        self._gathering = gathering
        self._store = ShardStore(database, destination)
        self._depth = metrics.depth.labels(destination)
        self._oldest = metrics.oldest.labels(destination)
        self._published = metrics.published.labels(destination)
        self._failures = metrics.failures.labels(destination)
        self._retry = AsyncRetrying(
            retry=retry_if_exception_type(BrikkError),
            wait=wait_random_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
            sleep=self._pause,
            before_sleep=self._report,
        )

    async def run(self) -> None:
        """Carry until cancelled; a receiver that is down costs delay, never an event."""
        async with asyncio.TaskGroup() as group:
            group.create_task(
                self._leases.hold(f"outbox/{self._destination}/{SHARD}", _LEASE, self._carry)
            )
            group.create_task(self._observe())

    async def _carry(self, lease: Lease) -> None:
        while True:
            shard: Shard = await self._retry(self._load, lease)
            answer: _Answer = await self._retry(self._offer, shard.generation, ())
            with suppress(ShardChanged):
                await self._carry_on(lease, shard, answer)
            _log.warning("outbox_shard_changed", destination=self._destination)

    async def _carry_on(self, lease: Lease, shard: Shard, answer: _Answer) -> None:
        while True:
            shard = await self._retry(self._advance, lease, shard, answer)
            if shard.rows:
                answer = await self._retry(self._send, shard)
                if self._gathering and len(shard.rows) < _FULL:
                    await self._clock.sleep(self._gathering)
            else:
                await self._wait_for_news()
                answer = _Answer(mark=shard.position)

    async def _load(self, lease: Lease) -> Shard:
        async with self._database.transaction() as connection:
            await self._leases.assert_held(connection, lease)
            return await self._store.load(connection)

    async def _advance(self, lease: Lease, shard: Shard, answer: _Answer) -> Shard:
        async with self._database.transaction() as connection:
            await self._leases.assert_held(connection, lease)
            moved = await self._store.advance(connection, shard, answer.mark)
            request = self._request(shard.generation)
            await marks.set_aside(connection, request, answer.refused)
        if shard.position and moved.generation != shard.generation:
            _log.error(
                "outbox_went_back",
                destination=self._destination,
                position=shard.position,
                mark=answer.mark,
            )
        return moved

    async def _send(self, shard: Shard) -> _Answer:
        """Publish the batch. It counts as failed when the receiver's mark has not moved into it."""
        answer = await self._offer(shard.generation, list(enumerate(shard.rows, shard.first)))
        taken = shard.taken(answer.mark)
        if not taken:
            self._failures.inc()
            raise Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "the receiver took nothing")
        self._published.inc(taken - len(answer.refused))
        faults.reach("outbox.published")
        return answer

    async def _offer(self, generation: str, rows: Sequence[tuple[int, Row]]) -> _Answer:
        """Publish rows; what is refused as a whole is halved until the refused event is alone."""
        request = self._request(generation)
        for position, row in rows:
            request.items.add(position=position).event.ParseFromString(row.payload)
        try:
            response = await self._call(request)
        except InvalidArgument as error:
            if not rows:
                raise
            if len(rows) == 1:
                return _Answer(mark=request.items[0].position, refused=((request.items[0], error),))
            middle = len(rows) // 2
            first = await self._offer(generation, rows[:middle])
            second = await self._offer(generation, rows[middle:])
            return _Answer(mark=second.mark, refused=(*first.refused, *second.refused))
        if response.refusals:
            _log.warning(
                "events_refused",
                destination=self._destination,
                count=len(response.refusals),
                first=response.refusals[0].status.message,
            )
        return _Answer(mark=response.mark)

    async def _call(self, request: PublishRequest) -> PublishResponse:
        try:
            return await self._publish(request)
        except grpc.RpcError as error:
            self._failures.inc()
            raise from_rpc_error(error) from error

    def _request(self, generation: str) -> PublishRequest:
        return PublishRequest(producer=self._producer, generation=generation, shard=SHARD)

    async def _wait_for_news(self) -> None:
        tasks = [
            asyncio.create_task(self._news.wait()),
            asyncio.create_task(self._clock.sleep(_POLL)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        self._news.clear()

    async def _observe(self) -> None:
        while True:
            with suppress(Unavailable):
                await self._measure()
            await self._clock.sleep(_OBSERVATION)

    async def _measure(self) -> None:
        async with self._database.reading() as connection:
            depth, oldest = await self._store.depth(connection)
        age = timedelta(0)
        if oldest is not None:
            age = self._clock.now() - Event.FromString(oldest).time.ToDatetime(tzinfo=UTC)
        self._depth.set(depth)
        self._oldest.set(max(0.0, age.total_seconds()))

    async def _pause(self, seconds: float) -> None:
        await self._clock.sleep(timedelta(seconds=seconds))

    def _report(self, state: RetryCallState) -> None:
        # The first failure, and then ever more rarely.
        attempt = state.attempt_number
        if state.outcome is not None and attempt & (attempt - 1) == 0:
            _log.warning(
                "relay_waits",
                destination=self._destination,
                attempt=attempt,
                reason=str(state.outcome.exception()),
            )
