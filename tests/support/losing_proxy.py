"""A connection that breaks where it hurts most: after the server acted, before it told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_CHUNK = 65536


@dataclass
class _Loss:
    command: bytes
    left: int
    stay_down: bool


class LosingProxy:
    """Passes bytes to a server of the Redis protocol and back, until told to lose a reply."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._loss: _Loss | None = None
        self._down = False
        self._under_way: set[asyncio.Task[None]] = set()
        self.losses = 0

    def lose_reply(self, command: bytes, *, count: int = 1, stay_down: bool = False) -> None:
        """Let `count` more of these commands pass, and break the connection when they have run.

        What the client sends after them never arrives. With `stay_down` nothing passes any more.
        """
        self._loss = _Loss(command=b"\r\n" + command + b"\r\n", left=count, stay_down=stay_down)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Serve, and give the port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
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
            if not self._down:
                await self._pass(reader, writer)
        except ConnectionError:
            pass  # the peer broke it
        finally:
            writer.close()
            self._under_way.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        losing = asyncio.Event()

        async def requests() -> None:
            while data := await reader.read(_CHUNK):
                if losing.is_set():
                    continue
                part = self._until_loss(data)
                if part is not None:
                    losing.set()
                server_writer.write(data if part is None else part)
                await server_writer.drain()

        async def replies() -> None:
            while data := await server_reader.read(_CHUNK):
                if losing.is_set():
                    return
                writer.write(data)
                await writer.drain()

        tasks = [asyncio.create_task(requests()), asyncio.create_task(replies())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            server_writer.close()

    def _until_loss(self, data: bytes) -> bytes | None:
        """What still passes of the data when the loss begins within it; None when it does not."""
        loss = self._loss
        if loss is None:
            return None
        passed = data.count(loss.command)
        if passed < loss.left:
            loss.left -= passed
            return None
        self._loss = None
        self._down = loss.stay_down
        self.losses += 1
        *_, rest = data.split(loss.command, loss.left)
        cut = rest.find(loss.command)
        return data if cut < 0 else data[: len(data) - len(rest) + cut]
