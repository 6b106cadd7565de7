"""The folder in which a suite on this machine keeps its keys, its data and how to reach it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from brikk_cli.failures import CommandError


class Home:
    """A folder for its owner alone (mode 0700); all that is written in it has mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def keys(self) -> Path:
        """Signing keys, the JWKS files of their public halves, the webhooks key ring."""
        return self.path / "keys"

    @property
    def data(self) -> Path:
        """The services' databases and Valkey's files."""
        return self.path / "data"

    @property
    def client(self) -> Path:
        """What clients need: addresses and a token."""
        return self.path / "client.json"

    @property
    def processes(self) -> Path:
        """Which process is which, while a suite runs."""
        return self.path / "processes.json"

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Makes the folders and keeps every other suite out of them.

        Raises CommandError when another suite runs on them or they cannot be made.
        """
        try:
            for folder in (self.path, self.keys, self.data, self.data / "valkey"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CommandError(f"cannot use {self.path} as home: {error.strerror}") from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(lock, 20, 0).decode()
                raise CommandError(
                    f"a suite runs on {self.path} already (process {owner}); "
                    "stop it, or give this one another --home"
                ) from None
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(lock)


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Writes a JSON file that only its owner can read, in one step."""
    write_private(path, json.dumps(document, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, in one step."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)
