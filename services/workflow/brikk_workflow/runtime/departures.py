"""Executions that have nothing to do for a while leave memory, many in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.group_commit import GroupCommit, in_transaction
from brikk_workflow.store.ownership import Leaving, leave


class Departures:
    """Lets go of executions; whatever has come for one meanwhile keeps it.

    Args:
        linger: those whose next wake-up is not further away than this stay in memory.
    """

    def __init__(self, database: Database, *, linger: timedelta, clock: Clock) -> None:
        self._database = database
        self._linger = linger
        self._clock = clock
        self._commits: GroupCommit[Leaving, bool] = GroupCommit(
            in_transaction(database, self._leave), keys=lambda leaving: (leaving.execution_id,)
        )

    def is_far(self, wake: datetime | None) -> bool:
        """Tells whether it pays to leave until then; None is never."""
        return wake is None or wake - self._clock.now() > self._linger

    async def submit(self, leaving: Leaving) -> bool:
        """Lets an execution go; false when it stays.

        Raises:
            Unavailable: the store does not answer; it may have been let go all the same.
        """
        return await self._commits.submit(leaving)

    async def run(self) -> None:
        """Writes what was submitted, for ever."""
        await self._commits.run()

    async def _leave(
        self, connection: AsyncConnection, leaving: Sequence[Leaving]
    ) -> Sequence[bool]:
        # Far by our clock and not by the store's: it would be claimed again at once.
        return await leave(connection, self._database, leaving, margin=self._linger / 2)
