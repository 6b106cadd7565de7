"""Many look-ups in one query: what keeps reads cheap when many callers ask at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.database import Database

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class GroupRead(Generic[Key, Value]):
    """Reads at once when idle, and takes all that was asked meanwhile as the next query.

    A look-up sees everything that was committed before it was asked: it never joins a query that
    is already under way.

    Args:
        read: answers for some distinct keys; a key that it leaves out is answered with None.
    """

    def __init__(
        self,
        database: Database,
        read: Callable[[AsyncConnection, Sequence[Key]], Awaitable[Mapping[Key, Value]]],
    ) -> None:
        self._database = database
        self._read = read
        self._asked: dict[Key, asyncio.Future[Value | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, key: Key) -> Value | None:
        """Looks a key up.

        Raises:
            Unavailable: the store does not answer.
        """
        answer = self._asked.get(key)
        if answer is None:
            answer = self._asked[key] = asyncio.get_running_loop().create_future()
            # A caller that was cancelled never looks at its answer.
            answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
            if self._reading is None:
                self._reading = asyncio.create_task(self._answer_all())
        return await asyncio.shield(answer)

    async def _answer_all(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                reading = asyncio.ensure_future(self._query(list(asked)))
                await asyncio.wait({reading})
                for key, answer in asked.items():
                    if error := reading.exception():
                        answer.set_exception(error)
                    else:
                        answer.set_result(reading.result().get(key))
        finally:
            self._reading = None

    async def _query(self, keys: Sequence[Key]) -> Mapping[Key, Value]:
        async with self._database.reading() as connection:
            return await self._read(connection, keys)
