"""Many small writes in one transaction: what lets a durable step cost a fraction of a commit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared import faults
from brikk_shared.audit import AuditEntry
from brikk_shared.call import call_under_way
from brikk_shared.database import Database
from brikk_shared.driver_errors import Conflict
from brikk_shared.errors import BrikkError, Reason, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

# A lone item that keeps losing against other transactions fails after so many attempts.
_CONFLICT_ATTEMPTS = 5
# How far behind the head of the queue a batch looks for items whose keys are free, in batches.
_LOOK_AHEAD = 4


@dataclass(kw_only=True, slots=True, eq=False)
class _Queued(Generic[Item, Result]):
    item: Item
    keys: frozenset[Hashable]
    order: list[str]
    audit: AuditEntry | None
    answer: asyncio.Future[Result]

    def settle(self, outcome: Result | BaseException) -> None:
        """Answer the caller, unless it has gone."""
        if self.answer.done():
            return
        if isinstance(outcome, BaseException):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


Write = Callable[[AsyncConnection, Sequence[Item]], Awaitable[Sequence[Result | BrikkError]]]
"""Writes a batch in the transaction it is given."""

Commit = Callable[
    [Sequence[Item], Sequence[AuditEntry | None]], Awaitable[Sequence[Result | BrikkError]]
]
"""Writes a batch in a transaction of its own, with the audit entry of each item not refused."""


class GroupCommit(Generic[Item, Result]):
    """Commits at once when idle, and what queued meanwhile as the next batch; there is no timer.

    `commit` gets a batch and answers for each item, in the same order: with its result, or with the
    error that it alone is refused with. A batch holds at most one item per key, so it may all be
    done in set-based statements; count every row that an item touches among its keys. Items of
    one key are committed in the order in which they came.

    An exception of `commit` is traced to its item by halving the batch, so that one poisoned item
    fails alone. When the store does not answer, the whole batch fails as Unavailable: it may have
    been committed all the same, and halving it could apply it twice.

    Args:
        commit: commits a batch; `in_transaction` makes it of what writes one.
        keys: the row keys that an item touches.
        max_batch: most items in one transaction.
    """

    def __init__(
        self,
        commit: Commit[Item, Result],
        *,
        keys: Callable[[Item], Collection[Hashable]],
        max_batch: int = 256,
    ) -> None:
        self._commit = commit
        self._keys = keys
        self._max_batch = max_batch
        self._queue: deque[_Queued[Item, Result]] = deque()
        self._arrived = asyncio.Event()
        self._stopped = False

    async def submit(self, item: Item) -> Result:
        """Commit the item together with the audit entry of the call under way, and give its result.

        The item is committed even when the caller is cancelled meanwhile.

        Raises:
            Unavailable: the store does not answer (the item may have been committed all the same),
                or the process is shutting down (then it was not).
            Exception: what `write` refused the item with, or what it raised because of it.
        """
        if self._stopped:
            raise _shutting_down()
        keys = frozenset(self._keys(item))
        call = call_under_way()
        queued: _Queued[Item, Result] = _Queued(
            item=item,
            keys=keys,
            order=sorted(map(str, keys)),
            audit=None if call is None else call.audit,
            answer=asyncio.get_running_loop().create_future(),
        )
        self._queue.append(queued)
        self._arrived.set()
        # A caller that is cancelled cancels its answer and nothing else.
        return await queued.answer

    async def run(self) -> None:
        """Commit until cancelled; then finish the batch under way and fail what still queues."""
        self._stopped = False
        try:
            while True:
                await self._arrived.wait()
                batch = self._next_batch()
                committing = asyncio.create_task(self._settle(batch))
                try:
                    await asyncio.shield(committing)
                except asyncio.CancelledError:
                    await committing
                    raise
        finally:
            self._stopped = True
            while self._queue:
                self._queue.popleft().settle(_shutting_down())

    def _next_batch(self) -> list[_Queued[Item, Result]]:
        batch: list[_Queued[Item, Result]] = []
        left: list[_Queued[Item, Result]] = []
        # Keys of items that stay behind count too: a later item must not overtake them.
        seen: set[Hashable] = set()
        for _ in range(min(len(self._queue), _LOOK_AHEAD * self._max_batch)):
            if len(batch) == self._max_batch:
                break
            queued = self._queue.popleft()
            (batch if seen.isdisjoint(queued.keys) else left).append(queued)
            seen |= queued.keys
        self._queue.extendleft(reversed(left))
        if not self._queue:
            self._arrived.clear()
        # Replicas that lock their rows in one order do not deadlock.
        batch.sort(key=lambda queued: queued.order)
        return batch

    async def _settle(self, batch: list[_Queued[Item, Result]], attempt: int = 1) -> None:
        committing = asyncio.ensure_future(self._try(batch))
        await asyncio.wait({committing})
        error = committing.exception()
        if error is None:
            for queued, result in zip(batch, committing.result(), strict=True):
                queued.settle(result)
        elif isinstance(error, Unavailable) and not isinstance(error, Conflict):
            for queued in batch:
                queued.settle(error)
        elif len(batch) > 1:
            middle = len(batch) // 2
            await self._settle(batch[:middle])
            await self._settle(batch[middle:])
        elif isinstance(error, Conflict) and attempt < _CONFLICT_ATTEMPTS:
            await self._settle(batch, attempt + 1)
        else:
            batch[0].settle(error)

    async def _try(self, batch: Sequence[_Queued[Item, Result]]) -> Sequence[Result | BrikkError]:
        results = await self._commit(
            [queued.item for queued in batch], [queued.audit for queued in batch]
        )
        faults.reach("commit.after")
        return results


def in_transaction(database: Database, write: Write[Item, Result]) -> Commit[Item, Result]:
    """Make a commit of what writes a batch."""

    async def commit(
        items: Sequence[Item], audit: Sequence[AuditEntry | None]
    ) -> Sequence[Result | BrikkError]:
        entries: list[AuditEntry] = []
        async with database.transaction(audit=entries) as connection:
            results = await write(connection, items)
            if len(results) != len(items):
                raise RuntimeError(f"{len(items)} items were written with {len(results)} results")
            entries.extend(
                entry
                for entry, result in zip(audit, results, strict=True)
                if entry is not None and not entry.recorded and not isinstance(result, BrikkError)
            )
            faults.reach("commit.before")
        return results

    return commit


def _shutting_down() -> Unavailable:
    return Unavailable(Reason.SHUTTING_DOWN, "the process is shutting down")
