"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import os
import time
from threading import Lock

_RANDOM_BYTES = 10

_lock = Lock()
_newest = 0


def new_id() -> str:
    """A new id: 32 characters of [a-z0-9], the first a letter.

    44 bits of milliseconds since 1970 and 80 random bits, in hexadecimal. Ids made later sort
    later: to the millisecond between processes, strictly within one.
    """
    global _newest
    random = int.from_bytes(os.urandom(_RANDOM_BYTES), "big")
    number = time.time_ns() // 1_000_000 << 80 | random
    with _lock:
        _newest = number = max(number, _newest + 1)
    return f"b{number:031x}"
