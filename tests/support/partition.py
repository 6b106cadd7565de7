"""A network between a service and its PostgreSQL, which a test cuts and heals."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from support.postgres_proxy import CHUNK, PostgresProxy


class Partition(PostgresProxy):
    """Passes bytes to a PostgreSQL server and back, unless it is cut."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Break every connection, and let none through until `heal`."""
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()

    def heal(self) -> None:
        """Let connections through again."""
        self._cut = False

    def refuses(self) -> bool:
        """Whether it is cut."""
        return self._cut

    async def carry(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Pass all bytes."""
        both = {client[1], server[1]}
        self._writers |= both
        try:
            await asyncio.gather(_copy(client[0], server[1]), _copy(server[0], client[1]))
        finally:
            self._writers -= both


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.transport.abort()
