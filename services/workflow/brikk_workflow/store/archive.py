"""Executions that leave the store are kept as files: one for each organisation and day of end."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import aclosing
from datetime import date
from pathlib import Path

from brikk_shared import faults
from brikk_shared.database import Database
from brikk_shared.ids import new_id
from brikk_workflow.store.history import chunks, export

_BUFFER = 1 << 20
"""Bytes that are compressed and written at once."""


class Archive:
    """A folder of `<organisation>/<day>.jsonl.gz`, in the form of an export.

    A file appears whole, once it is on the disk, and is never changed: whoever finds it may delete
    what it holds from the store. What is not in the file of its day, because the store went back
    or the folder was another's, gets a further one, `<day>.2.jsonl.gz`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def write(
        self,
        database: Database,
        organization: str,
        day: date,
        batches: AsyncIterator[Sequence[str]],
    ) -> None:
        """Writes the executions of a day, by batches of ids, but those that a file holds already.

        Raises:
            OSError: the files cannot be read or written.
            Unavailable: the store does not answer.
        """
        folder = self._folder / organization
        target, known = await asyncio.to_thread(_begin, folder, day)
        draft = folder / f".{day}.{new_id()}"
        try:
            empty = True
            lines = _unknown(database, batches, known)
            async with aclosing(chunks(lines, _BUFFER)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(_append, draft, piece)
                    empty = False
            if not empty:
                await asyncio.to_thread(_keep, draft, target)
                faults.reach("archive.written")
        finally:
            draft.unlink(missing_ok=True)


async def _unknown(
    database: Database, batches: AsyncIterator[Sequence[str]], known: Collection[str]
) -> AsyncIterator[str]:
    async for batch in batches:
        async for line in export(database, [each for each in batch if each not in known]):
            yield line


def _begin(folder: Path, day: date) -> tuple[Path, Collection[str]]:
    """Return the file to write, and the executions that those before it hold."""
    _make(folder)
    # Of a process that died meanwhile.
    for draft in folder.glob(f".{day}.*"):
        draft.unlink()
    known: set[str] = set()
    target, number = folder / f"{day}.jsonl.gz", 1
    while target.exists():
        with gzip.open(target, "rt", encoding="utf-8") as file:
            known |= {
                json.loads(line)["execution"]
                for line in file
                if line.startswith('{"kind":"execution"')
            }
        number += 1
        target = folder / f"{day}.{number}.jsonl.gz"
    return target, known


def _append(draft: Path, piece: bytes) -> None:
    with open(draft, "ab", opener=_private) as file:
        file.write(gzip.compress(piece))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _make(folder: Path) -> None:
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync(folder.parent)


def _keep(draft: Path, target: Path) -> None:
    _sync(draft)
    # Unlike a rename, it replaces nothing that another has written meanwhile.
    target.hardlink_to(draft)
    _sync(target.parent)


def _sync(path: Path) -> None:
    """Make what a file holds durable, or the names in a folder."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
