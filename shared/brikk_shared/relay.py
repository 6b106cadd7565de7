"""Carries the outbox to one destination: in order, each event once in effect, however often sent.

    lease -> read the shards' rows -> ask the receiver for its marks, with empty batches
          -> [ delete what is at or below the marks, record the next batches ] -> publish -> marks
                     ^ one transaction, the shards' rows locked                          |
                     +-------------------------------------------------------------------+

A batch is recorded before it is sent, so whoever carries on after a crash sends the very same rows
under the same positions, and the receiver's mark tells what it has taken. A mark above the highest
position ever recorded means that this database went back in time; then the positions begin anew in
a new generation, as the receiver would skip them in the old one. (Events that were sent after the
backup was made, and are in the backup, then reach the receiver twice: its marks cannot know them.)

All shards share the lease, the transactions and the pauses; their batches go side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
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
from brikk_shared.outbox import Outbox
from brikk_shared.outbox_shard import Row, Shard, ShardChanged, Shards, ShardStore, begin
from brikk_shared.publishing import serialized_request
from brikk_shared.status import from_rpc_error

Publish = Callable[[bytes], Awaitable[PublishResponse]]
"""Sends a serialised `PublishRequest`; it must have a deadline."""

_LEASE = timedelta(seconds=10)
_POLL = timedelta(seconds=1)
"""For rows that other replicas add; those of this process wake the relay."""
_OBSERVATION = timedelta(seconds=5)
_FULL = 250
"""Events of a batch that is worth its call without waiting for more."""
_SHARE = 2
"""Batches that are worth a pause: more of them are waited for that much longer."""
_QUIET = timedelta(milliseconds=25)
"""How long news are listened for at a time."""
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
        self.refused = Counter(
            "brikk_outbox_refused_total",
            "Events that the receiver will never take, in its dead letters or in ours.",
            labels,
            registry=registry,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    mark: int
    refused: tuple[tuple[PublishItem, BrikkError], ...] = ()
    """What made a call fail even when it was sent alone; kept in our own dead letters."""


_Answers = Mapping[int, _Answer]
"""By the number of the shard."""


class Relay:
    """Carries events to one destination for as long as its process holds the lease of its shards.

    Args:
        producer: this service, as receivers know it, for instance `workflow`.
        destination: one of the outbox's destinations, for instance `webhooks`.
        publish: sends a batch there.
        gathering: pause after a batch or two that were not full, so that under load events share
            calls. An event that comes after a rest is carried at once.
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
        self._refused = metrics.refused.labels(destination)
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
                # The name is of the time when there was one shard: whoever knows no other holds
                # it against us.
                self._leases.hold(f"outbox/{self._destination}/0", _LEASE, self._carry)
            )
            group.create_task(self._observe())

    async def _carry(self, lease: Lease) -> None:
        while True:
            shards: Shards = await self._retry(self._load, lease)
            with suppress(ShardChanged):
                await self._carry_on(lease, shards)
            _log.warning("outbox_shard_changed", destination=self._destination)

    async def _carry_on(self, lease: Lease, shards: Shards) -> None:
        answers = await self._ask(shards.values())
        if not shards:
            # Whom the receiver refuses altogether must not take it for the fault of an event.
            await self._ask([begin(1)])
        while True:
            shards = await self._retry(self._advance, lease, shards, answers)
            full = [shard for shard in shards.values() if shard.rows]
            if full:
                answers = await self._send(full)
                await self._gather(full)
            else:
                answers = {}
                await self._wait_for_news()

    async def _load(self, lease: Lease) -> Shards:
        async with self._database.transaction() as connection:
            await self._leases.assert_held(connection, lease)
            return await self._store.load(connection)

    async def _advance(self, lease: Lease, shards: Shards, answers: _Answers) -> Shards:
        reached = {number: answer.mark for number, answer in answers.items()}
        async with self._database.transaction() as connection:
            await self._leases.assert_held(connection, lease)
            moved = await self._store.advance(connection, shards, reached)
            for number, answer in answers.items():
                await marks.set_aside(connection, self._request(shards[number]), answer.refused)
        for number, shard in shards.items():
            if moved[number].generation != shard.generation:
                _log.error(
                    "outbox_went_back",
                    destination=self._destination,
                    shard=number,
                    position=shard.position,
                    mark=reached[number],
                )
        return moved

    async def _ask(self, shards: Collection[Shard]) -> dict[int, _Answer]:
        """Ask for the marks of shards."""
        return await self._for_each(shards, lambda shard: self._offer(shard, ()))

    async def _send(self, shards: Collection[Shard]) -> dict[int, _Answer]:
        """Publish the batches of shards."""
        return await self._for_each(shards, self._send_batch)

    async def _for_each(
        self, shards: Collection[Shard], call: Callable[[Shard], Awaitable[_Answer]]
    ) -> dict[int, _Answer]:
        """Call for each shard, side by side, until there is an answer for all of them."""
        answers: dict[int, _Answer] = {}

        async def attempt() -> None:
            left = [shard for shard in shards if shard.number not in answers]
            outcomes = await asyncio.gather(*map(call, left), return_exceptions=True)
            failures: list[BaseException] = []
            for shard, outcome in zip(left, outcomes, strict=True):
                if isinstance(outcome, BaseException):
                    failures.append(outcome)
                else:
                    answers[shard.number] = outcome
            if failures:
                raise failures[0]

        await self._retry(attempt)
        return answers

    async def _send_batch(self, shard: Shard) -> _Answer:
        """Publish the batch. It counts as failed when the receiver's mark has not moved into it."""
        answer = await self._offer(shard, list(enumerate(shard.rows, shard.first)))
        taken = shard.taken(answer.mark)
        if not taken:
            self._failures.inc()
            raise Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "the receiver took nothing")
        self._published.inc(taken - len(answer.refused))
        faults.reach("outbox.published")
        return answer

    async def _offer(self, shard: Shard, rows: Sequence[tuple[int, Row]]) -> _Answer:
        """Publish rows; what is refused as a whole is halved until the refused event is alone."""
        request = serialized_request(
            self._request(shard), ((position, row.payload) for position, row in rows)
        )
        try:
            response = await self._call(request)
        except InvalidArgument as error:
            if not rows:
                raise
            if len(rows) == 1:
                [(position, row)] = rows
                item = PublishItem(position=position, event=Event.FromString(row.payload))
                self._refused.inc()
                return _Answer(mark=position, refused=((item, error),))
            middle = len(rows) // 2
            first = await self._offer(shard, rows[:middle])
            second = await self._offer(shard, rows[middle:])
            return _Answer(mark=second.mark, refused=(*first.refused, *second.refused))
        if response.refusals:
            self._refused.inc(len(response.refusals))
            _log.warning(
                "events_refused",
                destination=self._destination,
                count=len(response.refusals),
                first=response.refusals[0].status.message,
            )
        return _Answer(mark=response.mark)

    async def _call(self, request: bytes) -> PublishResponse:
        try:
            return await self._publish(request)
        except grpc.RpcError as error:
            self._failures.inc()
            raise from_rpc_error(error) from error

    def _request(self, shard: Shard) -> PublishRequest:
        return PublishRequest(
            producer=self._producer, generation=shard.generation, shard=shard.number
        )

    async def _gather(self, sent: Collection[Shard]) -> None:
        """Let more events come after batches that were not full: the more calls, the longer.

        The longer pause ends early when there are no more news, or the first after none: other
        replicas' events come without.
        """
        if not self._gathering or any(len(shard.rows) >= _FULL for shard in sent):
            return
        self._news.clear()
        await self._clock.sleep(self._gathering)
        busy = self._news.is_set()
        left = self._gathering * (len(sent) / _SHARE - 1)
        while left > timedelta(0) and self._news.is_set() is busy:
            self._news.clear()
            await self._clock.sleep(min(_QUIET, left))
            left -= _QUIET

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
