"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import base64
import os
import time
from threading import Lock

# 26 characters of base32hex, whose alphabet sorts as its values do: one set bit, which makes the
# first character a letter, 47 bits of milliseconds since 1970 (until 6429), 80 random bits.
_FIRST_BIT = 1 << 127
_RANDOM_BYTES = 10

_lock = Lock()
_newest = 0


def new_id() -> str:
    """A new id: 26 characters of [a-z0-9], the first a letter.

    Ids made later sort later: to the millisecond between processes, strictly within one.
    """
    global _newest
    random = int.from_bytes(os.urandom(_RANDOM_BYTES), "big")
    number = _FIRST_BIT | time.time_ns() // 1_000_000 << 80 | random
    with _lock:
        _newest = number = max(number, _newest + 1)
    return base64.b32hexencode(number.to_bytes(16, "big"))[:26].decode("ascii").lower()
