"""The `brikk` command as its users run it: a process with arguments, streams and an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brikk_cli.ports import Ports

BRIKK = Path(sys.executable).with_name("brikk")
TIMEOUT = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


def brikk(
    *arguments: str,
    home: Path | None = None,
    stdin: str | bytes = "",
    environment: Mapping[str, str] | None = None,
) -> Result:
    """Runs a command to its end."""
    ran = subprocess.run(
        [BRIKK, *arguments],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env=environment_of(home, environment),
        timeout=TIMEOUT,
        check=False,
    )
    return Result(code=ran.returncode, out=ran.stdout.decode(), err=ran.stderr.decode())


@dataclass(frozen=True, kw_only=True, slots=True)
class Up:
    """A `brikk up` that serves."""

    process: subprocess.Popen[bytes]
    home: Path
    ports: Ports
    document: dict[str, Any]
    """What it printed with --json."""

    def pids(self) -> dict[str, int]:
        """Which process is which now."""
        found: dict[str, int] = json.loads((self.home / "processes.json").read_text())
        return found

    def client(self) -> dict[str, str]:
        """What it tells clients."""
        found: dict[str, str] = json.loads((self.home / "client.json").read_text())
        return found

    def logs(self) -> str:
        """What its processes wrote."""
        return (self.home.parent / "up.log").read_text()

    def stop(self, signum: signal.Signals = signal.SIGINT) -> int:
        """Asks it to stop, as Ctrl-C does, and returns its exit code."""
        self.process.send_signal(signum)
        return self.process.wait(TIMEOUT)


@contextmanager
def up(home: Path, *options: str, ports: Ports | None = None) -> Iterator[Up]:
    """Runs `brikk up` on free ports; enters when it serves and stops it in the end."""
    ports = ports or Ports.free()
    given = [f"--port={name}={port}" for name, port in ports.items()]
    with (home.parent / "up.log").open("ab") as logs:
        process = subprocess.Popen(
            [BRIKK, "up", "--json", f"--home={home}", *given, *options],
            stdout=subprocess.PIPE,
            stderr=logs,
            env=environment_of(None, None),
        )
    try:
        assert process.stdout is not None
        document = b""
        while line := process.stdout.readline():
            document += line
            if line == b"}\n":
                break
        assert document, (home.parent / "up.log").read_text()
        yield Up(process=process, home=home, ports=ports, document=json.loads(document))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(TIMEOUT)
        assert process.stdout is not None
        process.stdout.close()


def environment_of(home: Path | None, environment: Mapping[str, str] | None) -> dict[str, str]:
    """Ours without what would tell the command about another suite, and what is given."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BRIKK_")}
    told = {} if home is None else {"BRIKK_HOME": str(home)}
    return {**inherited, **told, **(environment or {})}
