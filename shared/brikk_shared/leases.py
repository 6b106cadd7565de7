"""Who may do a thing alone: leases in the database, with epochs that fence off the holders before.

A lease ends by the database's clock. Its holder counts down by its own monotonic clock, from before
it asked for the renewal, so it stops before another can begin. A holder that stood still in between
may not notice; its transactions do, by `Leases.assert_held`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.clock import Clock, StoreClock
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable
from brikk_shared.types import from_microseconds

# Parts of a lease's duration: a renewal may fail twice before the lease is lost, and a free lease
# is taken soon after it ended.
_RENEWALS = 3
_TRIALS = 5
# Leases that name a process are never taken again, so their rows must go. Where a name does come
# back, its epochs begin anew; a holder that stood still so long is told apart by its owner.
_REMEMBERED = timedelta(days=1)

_log = structlog.stdlib.get_logger(__name__)


class LeaseLost(Exception):
    """Another holds the lease by now; what was begun under it must stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A lease that was taken; whether it is still held only the database knows."""

    name: str
    owner: str
    epoch: int
    """Grows with each holder of this name."""


@dataclass(kw_only=True, slots=True)
class _Term:
    duration: timedelta
    until: float  # by the monotonic clock


class Leases:
    """Takes, renews and releases leases for one owner.

    Args:
        owner: this process in this life, for instance a new id made at start.
        store_clock: hears the time of the store whenever a lease is taken or renewed.
    """

    def __init__(
        self,
        database: Database,
        owner: str,
        clock: Clock,
        *,
        store_clock: StoreClock | None = None,
    ) -> None:
        self._database = database
        self._owner = owner
        self._clock = clock
        self._store_clock = store_clock
        now = database.now_sql
        self._take = text(
            "INSERT INTO lease (name, owner, epoch, expires_at)"
            f" VALUES (:name, :owner, 1, {now} + :duration)"
            " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, epoch = lease.epoch + 1,"
            f" expires_at = {now} + :duration WHERE lease.expires_at <= {now}"
            f" RETURNING epoch, {now} AS now"
        )
        # Those that others take are passed by: two that waited for one another would deadlock.
        free = " FOR UPDATE SKIP LOCKED" if database.dialect == "postgresql" else ""
        self._forget = text(
            "DELETE FROM lease WHERE name IN"
            f" (SELECT name FROM lease WHERE expires_at < {now} - :remembered{free})"
        )
        ours = "name = :name AND owner = :owner AND epoch = :epoch"
        self._renew = text(
            f"UPDATE lease SET expires_at = {now} + :duration WHERE {ours}"
            f" RETURNING epoch, {now} AS now"
        )
        self._time = text(f"SELECT 0 AS epoch, {now} AS now")
        self._release = text(f"UPDATE lease SET expires_at = {now} WHERE {ours}")
        # Until our transaction ends, nobody takes over. An expired lease that nobody took is as
        # good as a live one.
        locked = " FOR SHARE" if database.dialect == "postgresql" else ""
        self._read = text(f"SELECT epoch FROM lease WHERE {ours}{locked}")

    async def ask_time(self) -> None:
        """Let the time of the store be heard before there is a lease.

        Raises:
            Unavailable: the store does not answer.
        """
        async with self._database.reading() as connection:
            await self._ask(connection, self._time, {})

    async def acquire(self, name: str, duration: timedelta) -> Lease | None:
        """Take the lease if it is free; None when somebody holds it, be it this very owner.

        Raises:
            Unavailable: the store does not answer.
        """
        values = {"name": name, "owner": self._owner, "duration": _microseconds(duration)}
        async with self._database.transaction() as connection:
            epoch = await self._ask(connection, self._take, values)
            if epoch is not None:
                remembered = {"remembered": _microseconds(_REMEMBERED)}
                await connection.execute(self._forget, remembered)
        return None if epoch is None else Lease(name=name, owner=self._owner, epoch=epoch)

    async def renew(self, lease: Lease, duration: timedelta) -> bool:
        """Let the lease last so long from now; False when another has taken it.

        Raises:
            Unavailable: the store does not answer.
        """
        values = {**_key(lease), "duration": _microseconds(duration)}
        async with self._database.transaction() as connection:
            return await self._ask(connection, self._renew, values) is not None

    async def _ask(
        self, connection: AsyncConnection, statement: TextClause, values: Mapping[str, object]
    ) -> int | None:
        """Give the epoch that a statement returns, if any, and let the time beside it be heard."""
        asked = self._clock.monotonic()
        row = (await connection.execute(statement, values)).one_or_none()
        if row is None:
            return None
        if self._store_clock is not None:
            self._store_clock.hear(from_microseconds(row.now), asked=asked)
        return int(row.epoch)

    async def release(self, lease: Lease) -> None:
        """End the lease now, if it is still ours.

        Raises:
            Unavailable: the store does not answer; the lease ends by itself.
        """
        async with self._database.transaction() as connection:
            await connection.execute(self._release, _key(lease))

    async def assert_held(self, connection: AsyncConnection, lease: Lease) -> None:
        """Make sure that nobody else takes the lease before the transaction under way has ended.

        Raises:
            LeaseLost: somebody has.
        """
        if (await connection.execute(self._read, _key(lease))).scalar() is None:
            raise LeaseLost(lease.name)

    async def hold(
        self, name: str, duration: timedelta, work: Callable[[Lease], Awaitable[None]]
    ) -> None:
        """Wait for the lease and work under it, renewing it, until the work is done.

        When the lease is lost the work is cancelled, and the lease is waited for again. The lease
        is released when the work ends, fails (which is raised), or this is cancelled.
        """
        while True:
            asked = self._clock.monotonic()
            lease = None
            try:
                lease = await self.acquire(name, duration)
            except Unavailable as error:
                _log.warning("lease_unreachable", lease=name, reason=error.message)
            if lease is None:
                await self._clock.sleep(duration / _TRIALS)
                continue
            term = _Term(duration=duration, until=asked + duration.total_seconds())
            try:
                if await self._work(lease, term, work):
                    return
            finally:
                with suppress(Unavailable):
                    await self.release(lease)
            _log.warning("lease_lost", lease=name, epoch=lease.epoch)

    async def _work(
        self, lease: Lease, term: _Term, work: Callable[[Lease], Awaitable[None]]
    ) -> bool:
        """Work until it is done (True) or the lease is lost (False)."""
        working = asyncio.ensure_future(work(lease))
        guards = [
            asyncio.create_task(self._renew_until_lost(lease, term)),
            asyncio.create_task(self._wait_for_end(term)),
        ]
        tasks = (working, *guards)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done = working.done()
        finally:
            # The work first: it must have stopped when the lease ends, a renewal may hang on.
            errors = await _end(tasks)
        for error in errors:
            if not isinstance(error, LeaseLost):
                raise error
            done = False
        return done

    async def _renew_until_lost(self, lease: Lease, term: _Term) -> None:
        while True:
            await self._clock.sleep(term.duration / _RENEWALS)
            asked = self._clock.monotonic()
            try:
                if not await self.renew(lease, term.duration):
                    return
            except Unavailable as error:
                _log.warning("lease_not_renewed", lease=lease.name, reason=error.message)
            else:
                term.until = asked + term.duration.total_seconds()

    async def _wait_for_end(self, term: _Term) -> None:
        while (left := term.until - self._clock.monotonic()) > 0:
            await self._clock.sleep(timedelta(seconds=left))


async def _end(tasks: Sequence[asyncio.Future[None]]) -> list[BaseException]:
    """Cancel tasks and see to their end, also when this is cancelled; return what they died of.

    Left behind, they would go on with connections that are closed under them.
    """
    for task in tasks:
        task.cancel()
    interruption = None
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as wish:
            interruption = wish
    errors = [
        error for task in tasks if not task.cancelled() and (error := task.exception()) is not None
    ]
    if interruption is not None:
        raise interruption
    return errors


def _key(lease: Lease) -> dict[str, object]:
    return {"name": lease.name, "owner": lease.owner, "epoch": lease.epoch}


def _microseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
