"""A network that swallows what PostgreSQL answers to a commit: it has happened, nobody is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, unquote, urlsplit

_CHUNK = 65536
_PORT = 5432
# https://www.postgresql.org/docs/current/protocol-message-formats.html
_HEAD = 5
_READY = b"Z\x00\x00\x00\x05I"


class LosingCommits:
    """Passes bytes to a PostgreSQL server and back; now and then a commit is not answered.

    Commits are `COMMIT` itself, and statements that move executions in a transaction of their own.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._every = 0
        self._commits = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._lost = asyncio.Condition()
        self.losses = 0

    def lose(self, *, every: int) -> None:
        """Breaks the connection at each commit of so many, once it has been done; 0 is never."""
        self._every = every

    async def lost(self, count: int) -> None:
        """Waits until so many answers were lost in all."""
        async with self._lost:
            await self._lost.wait_for(lambda: self.losses >= count)

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
        server_reader, server_writer = await self._connect()
        losing = asyncio.Event()
        both = [
            asyncio.create_task(self._ask(reader, server_writer, losing)),
            asyncio.create_task(self._answer(server_reader, writer, losing)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            writer.transport.abort()
            server_writer.transport.abort()
            self._under_way.discard(task)

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        moving: set[bytes] = set()
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            # The first message has no type.
            head = await reader.readexactly(_HEAD - 1)
            writer.write(head + await reader.readexactly(int.from_bytes(head) - len(head)))
            while True:
                head = await reader.readexactly(_HEAD)
                body = await reader.readexactly(int.from_bytes(head[1:]) - _HEAD + 1)
                if self._every and _commits(head[:1], body, moving):
                    self._commits += 1
                    if self._commits % self._every == 0:
                        losing.set()
                writer.write(head + body)
                await writer.drain()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                if losing.is_set() and chunk.endswith(_READY):
                    async with self._lost:
                        self.losses += 1
                        self._lost.notify_all()
                    return
                if not losing.is_set():
                    writer.write(chunk)
                    await writer.drain()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = unquote(parse_qs(self._parts.query).get("host", [self._parts.hostname or ""])[0])
        port = self._parts.port or _PORT
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)


def _commits(kind: bytes, body: bytes, moving: set[bytes]) -> bool:
    """Whether a message commits. `moving` are the prepared statements that move executions."""
    if kind == b"P":
        name, statement, _ = body.split(b"\x00", 2)
        if statement.startswith(b"WITH moved"):
            moving.add(name)
    elif kind == b"B":
        _, name, _ = body.split(b"\x00", 2)
        return name in moving
    return kind == b"Q" and body == b"COMMIT;\x00"
