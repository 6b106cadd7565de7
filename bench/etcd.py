"""etcd as a registry, where it is installed: range reads of as many keys as a look-up returns.

The two messages it takes are put together by hand: a client library would only slow it down.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import grpc

from bench.fleet import CAPABILITIES, SERVICES, capability

_Call: TypeAlias = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]

_IN_FLIGHT = 64


class Etcd:
    """Keys `capability/agent`, each with the agent's endpoint and a description."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._put: _Call = channel.unary_unary("/etcdserverpb.KV/Put", None, None)
        self._range: _Call = channel.unary_unary("/etcdserverpb.KV/Range", None, None)

    async def fill(self, agents: int, value: bytes) -> None:
        """Puts a key for every service of so many agents."""
        keys = iter(
            f"{capability((number * SERVICES + position) % CAPABILITIES)}/fleet-{number}".encode()
            for number in range(agents)
            for position in range(SERVICES)
        )

        async def put() -> None:
            for key in keys:
                await self._put(_field(1, key) + _field(2, value), timeout=60)

        await asyncio.gather(*(put() for _ in range(_IN_FLIGHT)))

    async def read(self, name: str, limit: int) -> bytes:
        """Reads the first keys of a capability, linearizably as clients do by default."""
        begin, end = f"{name}/".encode(), f"{name}0".encode()
        request = _field(1, begin) + _field(2, end) + b"\x18" + bytes([limit])
        return await self._range(request, timeout=30)


@asynccontextmanager
async def etcd() -> AsyncIterator[Etcd | None]:
    """Runs an etcd of the benchmark's own; None where none is installed."""
    program = shutil.which("etcd")
    if program is None:
        yield None
        return
    clients, peers = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
    with tempfile.TemporaryDirectory(prefix="brikk-bench-etcd-") as folder:
        process = await asyncio.create_subprocess_exec(
            program,
            *("--data-dir", str(Path(folder) / "data")),
            *("--listen-client-urls", clients, "--advertise-client-urls", clients),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
            *("--initial-cluster", f"default={peers}"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with grpc.aio.insecure_channel(clients.removeprefix("http://")) as channel:
                await asyncio.wait_for(channel.channel_ready(), timeout=30)
                yield Etcd(channel)
        finally:
            process.terminate()
            await process.wait()


def _field(number: int, value: bytes) -> bytes:
    """A bytes field on the wire: its tag, its length as a varint, and itself."""
    size, length = len(value), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return bytes([number << 3 | 2]) + bytes(length) + value


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
