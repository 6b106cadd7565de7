"""Executions that ended long ago leave the store, so that its tables stay as large as a month."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, time, timedelta

import structlog

from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable
from brikk_shared.leases import Lease, Leases
from brikk_workflow.store.archive import Archive
from brikk_workflow.store.retention import ended, organizations, remove

log = structlog.get_logger()

INTERVAL = timedelta(hours=1)
"""How often it is looked for what may leave."""
_LEASE = timedelta(seconds=30)
_DAY = timedelta(days=1)
_READ = 500
"""Executions that are archived at once."""
_DELETED = 100
"""Executions that are deleted in one transaction: on SQLite everybody else waits for it."""


class Retention:
    """Removes executions day by day, on the replica that holds the lease.

    Args:
        keep: an execution leaves on the day (in UTC) after it ended so long ago.
        archive: where they are kept instead; None for nowhere.
        removed: told of those that were removed.
    """

    def __init__(
        self,
        database: Database,
        leases: Leases,
        *,
        keep: timedelta,
        archive: Archive | None,
        removed: Callable[[Collection[str]], None],
        clock: Clock,
    ) -> None:
        self._database = database
        self._leases = leases
        self._keep = keep
        self._archive = archive
        self._removed = removed
        self._clock = clock

    async def run(self) -> None:
        """Removes for ever."""
        await self._leases.hold("retention", _LEASE, self._while_held)

    async def tidy(self, lease: Lease) -> None:
        """Removes all that may leave by now.

        Raises:
            LeaseLost: another replica does it by now.
            OSError: the archive cannot be written.
            Unavailable: the store does not answer.
        """
        newest = _midnight(self._clock.now() - self._keep)
        async with self._database.reading() as connection:
            found = await organizations(connection)
        for organization in found:
            while (first := await self._first(organization, newest)) is not None:
                await self._remove_day(organization, _midnight(first), lease)

    async def _while_held(self, lease: Lease) -> None:
        while True:
            try:
                await self.tidy(lease)
            except Unavailable as error:
                log.warning("store does not answer", reason=error.reason)
            except OSError:
                # Nothing is deleted that is not archived; the tables grow until somebody helps.
                log.exception("archive fails")
            await self._clock.sleep(INTERVAL)

    async def _first(self, organization: str, before: datetime) -> datetime | None:
        async with self._database.reading() as connection:
            rows = await ended(connection, organization, before=before, limit=1)
        return rows[0][0] if rows else None

    async def _remove_day(self, organization: str, day: datetime, lease: Lease) -> None:
        end = day + _DAY
        if self._archive is not None:
            async with aclosing(self._batches(organization, end)) as batches:
                await self._archive.write(self._database, organization, day.date(), batches)
        removed = 0
        while gone := await self._remove_some(organization, end, lease):
            removed += len(gone)
        log.info("executions removed", organization=organization, day=str(day.date()), n=removed)

    async def _batches(self, organization: str, before: datetime) -> AsyncGenerator[Sequence[str]]:
        after: tuple[datetime, str] | None = None
        while True:
            async with self._database.reading() as connection:
                rows = await ended(
                    connection, organization, before=before, after=after, limit=_READ
                )
            if not rows:
                return
            yield [execution_id for _, execution_id in rows]
            after = rows[-1]

    async def _remove_some(
        self, organization: str, before: datetime, lease: Lease
    ) -> Collection[str]:
        async with self._database.transaction(audit=()) as connection:
            await self._leases.assert_held(connection, lease)
            rows = await ended(connection, organization, before=before, limit=_DELETED)
            gone = {execution_id for _, execution_id in rows}
            if gone:
                await remove(connection, gone)
        self._removed(gone)
        return gone


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.date(), time(), UTC)
