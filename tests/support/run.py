"""The folder of one run of the tests: what its processes share; the first makes and removes it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VARIABLE = "BRIKK_TEST_RUN"


def begin() -> Path:
    """Make the folder; the workers of this run find it by the environment they inherit."""
    # Short, because the path of a Unix socket may have about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="brikk-test-"))
    os.environ[_VARIABLE] = str(folder)
    return folder


def end(folder: Path) -> None:
    """Remove the folder."""
    os.environ.pop(_VARIABLE, None)
    shutil.rmtree(folder, ignore_errors=True)


def folder() -> Path:
    """Give the folder of the run under way."""
    return Path(os.environ[_VARIABLE])


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Keep the other workers of the run out while the block runs."""
    with (folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
