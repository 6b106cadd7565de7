"""A network between a service and its PostgreSQL that a test has in its hands."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, unquote, urlsplit

CHUNK = 65536
_PORT = 5432


class PostgresProxy(ABC):
    """Accepts connections and joins each to the server; `carry` says what passes between them."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._under_way: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def carry(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Passes bytes to and fro until one side ends; both are broken after it."""

    def refuses(self) -> bool:
        """Whether a connection is broken before it reaches the server."""
        return False

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serves, and gives the URL of the database by this way."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        user, _, _ = self._parts.netloc.rpartition("@")
        try:
            yield f"postgresql://{user}@127.0.0.1:{port}{self._parts.path}?sslmode=disable"
        finally:
            server.close()
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
            await server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            if not self.refuses():
                server = await self._connect()
                try:
                    await self.carry((reader, writer), server)
                finally:
                    server[1].transport.abort()
        finally:
            writer.transport.abort()
            self._under_way.discard(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = unquote(parse_qs(self._parts.query).get("host", [self._parts.hostname or ""])[0])
        port = self._parts.port or _PORT
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)
