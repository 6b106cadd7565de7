"""One run of the tests: the folder that its processes share, from its beginning to its end."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import keeper

_VARIABLE = "BRIKK_TEST_RUN"


class Run:
    """The run, as the process that begins it sees it; the workers of the run inherit its folder."""

    def __init__(self) -> None:
        # Short, because the path of a Unix socket may have about a hundred characters.
        folder = tempfile.mkdtemp(prefix="brikk-test-")
        os.environ[_VARIABLE] = folder
        command = [sys.executable, keeper.__file__, folder]
        # In a session of its own, so that Ctrl-C does not reach it.
        self._keeper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def end(self) -> None:
        """Stop the servers of the run, and remove its folder."""
        self._keeper.communicate()
        del os.environ[_VARIABLE]


def folder() -> Path:
    """Give the folder of the run under way."""
    return Path(os.environ[_VARIABLE])


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Keep the other workers of the run out while the block runs."""
    with (folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
