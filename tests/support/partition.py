"""A network between a service and its PostgreSQL, which a test cuts and heals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, unquote, urlsplit

_CHUNK = 65536
_PORT = 5432


class Partition:
    """Passes bytes to a PostgreSQL server and back, unless it is cut."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._under_way: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Break every connection, and let none through until `heal`."""
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()

    def heal(self) -> None:
        """Let connections through again."""
        self._cut = False

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serve, and give the URL of the database by this way."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        user, _, _ = self._parts.netloc.rpartition("@")
        try:
            yield f"postgresql://{user}@127.0.0.1:{port}{self._parts.path}?sslmode=disable"
        finally:
            self.cut()
            server.close()
            await asyncio.gather(*self._under_way, return_exceptions=True)
            await server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            if not self._cut:
                await self._pass(reader, writer)
        finally:
            writer.transport.abort()
            self._under_way.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await self._connect()
        both = {writer, server_writer}
        self._writers |= both
        try:
            await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))
        finally:
            self._writers -= both
            for each in both:
                each.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = unquote(parse_qs(self._parts.query).get("host", [self._parts.hostname or ""])[0])
        port = self._parts.port or _PORT
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.transport.abort()
