"""The one way out for events: rows written in the transaction of the change that they tell of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.event.v1.event_pb2 import Event
from brikk_shared.batch import batch_params, batch_source
from brikk_shared.database import Database
from brikk_shared.outbox_shard import shard_of

COLUMNS: Final = {"shard": "bigint", "subject": "text", "payload": "bytes"}
"""Of an event's row, but for the destination."""


class Outbox:
    """Holds events until every destination has them; a `Relay` per destination carries them there.

    Args:
        source: the service, as events name it, for instance `brikk.workflow`.
        destinations: who gets each event, for instance `webhooks` and `monitoring`.
    """

    def __init__(self, database: Database, *, source: str, destinations: Sequence[str]) -> None:
        self._source = source
        self._dialect = database.dialect
        self._news = {destination: asyncio.Event() for destination in destinations}
        self._columns = {**COLUMNS, "place": "bigint"}
        self._insert = text(self.insert_from(batch_source(self._dialect, self._columns)))

    def insert_from(self, source: str) -> str:
        """Give the statement that adds the events of a source, for each destination.

        Args:
            source: what stands after FROM: a table `b` with `COLUMNS` and `place`. Rows get their
                numbers in the order of `place`, so a subject's events stay in the order given.
        """
        # Where nobody is told, it adds nothing: VALUES needs a row.
        names = ", ".join(f"('{destination}')" for destination in self._news) or "(NULL)"
        return (
            "INSERT INTO outbox (destination, shard, subject, payload)"
            f" SELECT d.name, b.shard, b.subject, b.payload FROM {source}"
            f" CROSS JOIN (SELECT column1 AS name FROM (VALUES {names}) AS v) AS d"
            " WHERE d.name IS NOT NULL ORDER BY b.place"
        )

    def rows(self, events: Sequence[Event]) -> Sequence[tuple[int, str, bytes]]:
        """Give the rows of events, in the order of `COLUMNS`; none when nobody is told.

        Whoever adds an event of a subject must hold that subject's own row locked: only then do the
        rows of a subject get their numbers in the order in which they commit.
        """
        if any(event.source != self._source for event in events):
            raise ValueError(f"an event of another source than {self._source}")
        if not self._news:
            return []
        return [
            (shard_of(event.subject), event.subject, event.SerializeToString()) for event in events
        ]

    async def add(self, connection: AsyncConnection, events: Sequence[Event]) -> None:
        """Add events to the transaction under way; call `wake` once it has committed.

        The same holds as for `rows`.
        """
        rows = [
            dict(zip(self._columns, (*row, place), strict=True))
            for place, row in enumerate(self.rows(events))
        ]
        if rows:
            params = batch_params(self._dialect, self._columns, rows)
            await connection.execute(self._insert, params)

    def wake(self) -> None:
        """Tell the relays of this process that there is something to carry."""
        for news in self._news.values():
            news.set()

    def news(self, destination: str) -> asyncio.Event:
        """Give the event that `wake` sets for a destination; its relay clears it."""
        return self._news[destination]
