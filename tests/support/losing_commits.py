"""A network that swallows what PostgreSQL answers to a commit: it has happened, nobody is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from support.postgres_proxy import CHUNK, PostgresProxy

# https://www.postgresql.org/docs/current/protocol-message-formats.html
_HEAD = 5
_READY = b"Z\x00\x00\x00\x05I"


class LosingCommits(PostgresProxy):
    """Passes bytes to a PostgreSQL server and back; now and then a commit is not answered.

    Commits are `COMMIT` itself, and statements that move executions in a transaction of their own.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._every = 0
        self._commits = 0
        self._lost = asyncio.Condition()
        self.losses = 0

    def lose(self, *, every: int) -> None:
        """Breaks the connection at each commit of so many, once it has been done; 0 is never."""
        self._every = every

    async def lost(self, count: int) -> None:
        """Waits until so many answers were lost in all."""
        async with self._lost:
            await self._lost.wait_for(lambda: self.losses >= count)

    async def carry(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Passes bytes until an answer is to be lost."""
        losing = asyncio.Event()
        both = [
            asyncio.create_task(self._ask(client[0], server[1], losing)),
            asyncio.create_task(self._answer(server[0], client[1], losing)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)

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
            while chunk := await reader.read(CHUNK):
                if losing.is_set() and chunk.endswith(_READY):
                    async with self._lost:
                        self.losses += 1
                        self._lost.notify_all()
                    return
                if not losing.is_set():
                    writer.write(chunk)
                    await writer.drain()


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
