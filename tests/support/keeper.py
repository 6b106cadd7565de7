"""Outlives the run of the tests by a moment: stops the servers that it left, removes its folder.

A process of its own, so that it does so even when the run was killed. Its standard input ends when
the run does.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import psutil

_PATIENCE_S = 30


def main(folder: Path) -> None:
    """Wait for the end of the run, then clean up after it."""
    sys.stdin.read()
    processes = [process for path in folder.rglob("*.pid") if (process := _server(path))]
    for process in processes:
        # PostgreSQL's fast shutdown, which ends connections; Valkey ends on it, too.
        process.send_signal(signal.SIGINT)
    psutil.wait_procs(processes, timeout=_PATIENCE_S)
    shutil.rmtree(folder, ignore_errors=True)


def _server(pid_file: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        return process if process.name().startswith(("postgres", "valkey")) else None
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        return None  # it has ended


if __name__ == "__main__":
    main(Path(sys.argv[1]))
