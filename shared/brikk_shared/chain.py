"""Histories whose entries are chained by hashes: what was changed afterwards shows, and where.

docs/history.md states the form, so that whoever holds an export can verify it without us.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256


class BrokenChain(Exception):
    """A history is not as it was written; the message names the first entry that tells."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """A history that is as it was written.

    `head` is the hash of its newest entry, in hexadecimal. The first `unchained` entries are from
    before histories were chained: of them nothing is known.
    """

    execution: str
    entries: int
    unchained: int
    head: str


def root(organization: str, execution: str) -> bytes:
    """Give what the first entry of an execution's history is chained to."""
    return sha256(f"{organization}\n{execution}".encode()).digest()


def link(
    previous: bytes,
    organization: str,
    execution: str,
    sequence: int,
    kind: str,
    step: str,
    time: int,
    attributes: str,
) -> bytes:
    """Give the hash of an entry that follows the one with the hash `previous`.

    `time` is in microseconds since 1970, and `attributes` the very characters that are stored. No
    field holds a line feed (JSON escapes them), so the lines tell one entry from every other.
    """
    return sha256(
        f"{previous.hex()}\n{organization}\n{execution}\n{sequence}\n{kind}\n{step}\n{time}\n"
        f"{attributes}".encode()
    ).digest()


def verify(lines: Iterable[str | bytes]) -> Iterator[Verified]:
    """Verify the histories of an export, one execution after the other.

    Raises:
        BrokenChain: the first history that is not as it was written, or a line that is none of an
            export.
    """
    reading: _History | None = None
    for number, text in enumerate(lines, 1):
        try:
            line = json.loads(text)
            kind = line["kind"]
            if kind == "execution":
                if reading is not None:
                    yield reading.end()
                reading = _History(line)
            elif kind == "entry" and reading is not None:
                reading.add(line)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenChain(f"line {number} is not one of an export, or is cut short") from error
    if reading is None:
        raise BrokenChain("it holds no execution")
    yield reading.end()


class _History:
    """One history, as far as it was read."""

    def __init__(self, header: Mapping[str, str | int]) -> None:
        self._organization, self._execution = str(header["organization"]), str(header["execution"])
        self._sequence, self._head = int(header["sequence"]), str(header["hash"])
        self._hash = root(self._organization, self._execution)
        self._read = 0
        self._unchained = 0

    def add(self, entry: Mapping[str, str | int]) -> None:
        sequence = int(entry["sequence"])
        if sequence != self._read + 1:
            after = f"follows entry {self._read}" if self._read else "is the first"
            raise self._broken(f"entry {sequence} {after}, where entry {self._read + 1} belongs")
        self._read = sequence
        if not entry["hash"]:
            if self._unchained != sequence - 1:
                raise self._broken(f"entry {sequence} has no hash")
            self._unchained = sequence
            return
        self._hash = link(
            self._hash,
            self._organization,
            self._execution,
            sequence,
            str(entry["type"]),
            str(entry["step"]),
            int(entry["time"]),
            str(entry["attributes"]),
        )
        if self._hash.hex() != entry["hash"]:
            raise self._broken(f"entry {sequence} is not as it was written after those before it")

    def end(self) -> Verified:
        if self._read != self._sequence:
            raise self._broken(f"ends at entry {self._read} of {self._sequence}")
        if self._unchained == self._sequence:
            raise self._broken("no entry has a hash: there is nothing to verify it by")
        if self._hash.hex() != self._head:
            raise self._broken(f"entry {self._read} has another hash than the execution says")
        return Verified(
            execution=self._execution,
            entries=self._read,
            unchained=self._unchained,
            head=self._head,
        )

    def _broken(self, what: str) -> BrokenChain:
        return BrokenChain(f"executions/{self._execution}: {what}")
