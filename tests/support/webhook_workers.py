"""Celery workers of the webhooks service as processes, and the broker that tells them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Final

from brikk_shared.testing import Tokens
from support.databases import fresh_database
from support.valkey import ValkeyServer
from support.webhooks import settings

_PROCESSES: Final = 2
_PATIENCE_S: Final = 60


class Worker:
    """A worker of two processes that are ready for work."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.logs: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "brikk_webhooks.worker"],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        working = 0
        for line in self._process.stderr:
            self.logs.append(line)
            working += '"event": "working"' in line
            if working == _PROCESSES:
                break
        assert working == _PROCESSES, "".join(self.logs)
        self._reading = Thread(target=self.logs.extend, args=(self._process.stderr,))
        self._reading.start()

    def children(self) -> list[int]:
        """Process ids of those that do the work."""
        found = subprocess.run(
            ["pgrep", "-P", str(self._process.pid)], stdout=subprocess.PIPE, check=True
        )
        return [int(each) for each in found.stdout.split()]

    def kill(self) -> None:
        """End it as kill -9 does, and those that it forked with it."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it as an orchestrator does; give its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, signum: signal.Signals) -> int:
        self._process.send_signal(signum)
        code = self._process.wait(_PATIENCE_S)
        self._reading.join(_PATIENCE_S)  # ends when the last that could write has
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a service and its workers share: a database, a broker, and keys."""

    database_url: str
    broker: ValkeyServer
    folder: Path
    overrides: Mapping[str, Any]

    def settings(self) -> dict[str, Any]:
        """What the service is told besides its database and its folder."""
        return {
            "broker_url": self.broker.url,
            "worker_http_listen": ["127.0.0.1:0"] * _PROCESSES,
            **self.overrides,
        }

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """Run a worker; it is dead at the end."""
        tokens = Tokens(Path(tempfile.mkdtemp(dir=self.folder)))
        told = settings(self.database_url, self.folder, tokens, **self.settings())
        given = json.loads(told.model_dump_json(exclude_unset=True))
        worker = Worker(
            {
                f"BRIKK_WEBHOOKS_{name}".upper(): each
                if isinstance(each, str)
                else json.dumps(each)
                for name, each in given.items()
            }
        )
        try:
            yield worker
        finally:
            worker.kill()


@contextmanager
def surroundings(folder: Path, **overrides: Any) -> Iterator[Surroundings]:
    """Make a database and a broker; `overrides` are settings. Not for where a loop runs."""
    broker = ValkeyServer(folder / "broker")
    broker.start()
    try:
        with asyncio.Runner() as runner:
            database = fresh_database("postgresql", folder, "webhooks")
            url = runner.run(database.__aenter__())
            try:
                yield Surroundings(
                    database_url=url, broker=broker, folder=folder, overrides=overrides
                )
            finally:
                runner.run(database.__aexit__(None, None, None))
    finally:
        broker.stop()
