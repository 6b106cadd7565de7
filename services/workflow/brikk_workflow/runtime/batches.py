"""Carries out batches page after page, on one replica at a time, so that others get their turns."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

import structlog

from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import BrikkError, Internal, Reason, Unavailable
from brikk_shared.leases import Lease, Leases
from brikk_workflow.domain.batch import BatchStatus, BatchVerb
from brikk_workflow.domain.wish import WishKind
from brikk_workflow.runtime.beginning import Beginner
from brikk_workflow.runtime.replica import Replica
from brikk_workflow.store.batches import BatchRecord, Refusal, get_batch, open_batches, save
from brikk_workflow.store.loading import Loaded, Unreadable, load
from brikk_workflow.store.search import Position, find
from brikk_workflow.store.wishes import record_wishes

log = structlog.get_logger()

LEASE = "batches"
PAGE = 500
"""Executions whose wish is recorded in one transaction."""
RETRIES = 100
"""Executions that are begun at once in place of others."""
PACE = timedelta(milliseconds=100)
"""How long others have the store to themselves between two pages."""
_AT_ONCE = 20


class Batches:
    """Whoever holds the lease asks the next page of each batch in turn.

    Wishes, and how far the batch has come, are one transaction. Retries are begun before that, each
    under a request id of its own, so that a page which is asked again begins none twice.
    """

    def __init__(
        self,
        database: Database,
        leases: Leases,
        beginner: Beginner,
        replica: Replica,
        *,
        clock: Clock,
        lease_duration: timedelta,
        interval: timedelta,
    ) -> None:
        self._database = database
        self._leases = leases
        self._beginner = beginner
        self._replica = replica
        self._clock = clock
        self._lease_duration = lease_duration
        self._interval = interval
        self._news = asyncio.Event()

    def hasten(self) -> None:
        """Looks at once: a batch may have come."""
        self._news.set()

    async def run(self) -> None:
        """Carries out batches for ever, while no other replica does."""
        await self._leases.hold(LEASE, self._lease_duration, self._work)

    async def _work(self, lease: Lease) -> None:
        while True:
            worked = False
            try:
                async with self._database.reading() as connection:
                    batches = await open_batches(connection, limit=_AT_ONCE)
                for batch in batches:
                    worked = True
                    await self._ask(lease, batch)
            except Unavailable as error:
                log.warning("store does not answer", reason=error.reason)
            if worked:
                await self._clock.sleep(PACE)
            else:
                await self._rest()

    async def _ask(self, lease: Lease, batch: BatchRecord) -> None:
        """Asks the next page, which is empty at the end."""
        retries = batch.verb is BatchVerb.RETRY
        async with self._database.reading() as connection:
            page = await find(
                connection,
                batch.organization,
                batch.scope,
                after=batch.after,
                limit=RETRIES if retries else PAGE,
            )
        outcomes = await self._retry(batch, page) if retries else {}
        async with self._database.transaction() as connection:
            await self._leases.assert_held(connection, lease)
            current = await get_batch(connection, batch.organization, batch.batch_id, lock=True)
            if current is None or current.status is not BatchStatus.RUNNING:
                return
            if page and not retries:
                outcomes = await record_wishes(
                    connection,
                    self._database,
                    [each.execution_id for each in page],
                    kind=WishKind(batch.verb),
                    attributes={} if batch.verb is BatchVerb.RESUME else {"reason": batch.reason},
                    now=self._clock.now(),
                )
            refused = [_refusal(key, error) for key, error in outcomes.items() if error]
            done = len(outcomes) - len(refused)
            await save(connection, current.asked(page, done, refused, now=self._clock.now()))
        if not retries:
            for execution_id in outcomes:
                self._replica.poke(execution_id)

    async def _retry(
        self, batch: BatchRecord, page: Sequence[Position]
    ) -> Mapping[str, BrikkError | None]:
        async with self._database.reading() as connection:
            found = await load(connection, [each.execution_id for each in page])
        ended = [each for each in found if isinstance(each, Loaded)]
        outcomes: dict[str, BrikkError | None] = {
            each.execution_id: _defect(each.execution_id, each.error)
            for each in found
            if isinstance(each, Unreadable)
        }
        results = await asyncio.gather(
            *(
                self._beginner.retry(
                    each,
                    workflow=batch.workflow,
                    request_id=f"{batch.batch_id}/{each.record.execution_id}",
                    traceparent="",
                )
                for each in ended
            ),
            return_exceptions=True,
        )
        for each, result in zip(ended, results, strict=True):
            execution_id = each.record.execution_id
            if isinstance(result, Unavailable):
                raise result  # the page is asked again
            if isinstance(result, BrikkError):
                outcomes[execution_id] = result
            else:
                failed = isinstance(result, BaseException)
                outcomes[execution_id] = _defect(execution_id, result) if failed else None
        return outcomes

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._interval.total_seconds()):
                await self._news.wait()
        self._news.clear()


def _defect(execution_id: str, error: object) -> Internal:
    """What only one execution refuses with: the others of the batch are asked all the same."""
    log.error("execution cannot be retried", execution=execution_id, exc_info=error)
    return Internal(
        Reason.INTERNAL,
        f"executions/{execution_id} cannot be retried by a defect, which the log describes",
        metadata={"resource": f"executions/{execution_id}"},
    )


def _refusal(execution_id: str, error: BrikkError) -> Refusal:
    return Refusal(
        execution_id=execution_id,
        code=error.code,
        reason=error.reason.value,
        message=error.message,
        metadata=dict(error.metadata),
    )
