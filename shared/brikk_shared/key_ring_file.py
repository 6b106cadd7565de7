"""The key ring of a running process: a file whose keys are replaced while they are in use."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import structlog

from brikk_shared.crypto import KeyMissing, KeyRing, Place, SealingError

_log = structlog.stdlib.get_logger(__name__)


class KeyRingFile:
    """Seals and opens as a `KeyRing` does, with the keys that its file has by now.

    The file is looked at before anything is sealed, and when something lies under a key that is not
    known. A key that was taken out of it goes on opening as long as the process lives, so that what
    still lies under it can be sealed anew. A file that broke leaves the keys as they were.

    Raises:
        OSError, ValueError, SealingError: there is no such file, or it is no key ring.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = _version_of(path)
        self._ring = KeyRing.parse(path.read_text())

    @property
    def primary(self) -> str:
        """The name of the key that seals."""
        self._follow()
        return self._ring.primary

    @property
    def names(self) -> Set[str]:
        """The names of the keys that open."""
        return self._ring.keys.keys()

    def seal(self, plain: bytes, place: Place) -> bytes:
        """Seal bytes for one place, under the primary key."""
        self._follow()
        return self._ring.seal(plain, place)

    def open(self, sealed: bytes, place: Place) -> bytes:
        """Open what was sealed for this place. Raises as `KeyRing.open` does."""
        try:
            return self._ring.open(sealed, place)
        except KeyMissing:
            if not self._follow():
                raise
            return self._ring.open(sealed, place)

    def renew(self, sealed: bytes, place: Place) -> bytes:
        """Seal the data key anew, under the primary key. Raises as `KeyRing.renew` does."""
        try:
            return self._ring.renew(sealed, place)
        except KeyMissing:
            if not self._follow():
                raise
            return self._ring.renew(sealed, place)

    def _follow(self) -> bool:
        """Read the file again if it is another; tell whether it was."""
        try:
            version = _version_of(self._path)
            if version == self._version:
                return False
            found = KeyRing.parse(self._path.read_text())
            self._check_names(found)
        except (OSError, ValueError, SealingError) as error:
            _log.error("key_ring_not_read", reason=str(error))
            return False
        self._version = version
        self._ring = KeyRing(primary=found.primary, keys={**self._ring.keys, **found.keys})
        _log.info("key_ring_read", primary=found.primary, keys=sorted(found.keys))
        return True

    def _check_names(self, found: KeyRing) -> None:
        for name, key in found.keys.items():
            if self._ring.keys.get(name, key) != key:
                raise SealingError(f"the key ring has another key called {name!r} than before")


def _version_of(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
