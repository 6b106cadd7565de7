"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import math
import os
import time
from datetime import UTC, datetime
from threading import Lock

_RANDOM_BYTES = 10
_POOL_BYTES = 4000  # of one system call, which costs more than all the rest of an id

_lock = Lock()
_newest = 0
_pool = b""


def new_id() -> str:
    """A new id: 32 characters of [a-z0-9], the first a letter.

    44 bits of milliseconds since 1970 and 80 random bits, in hexadecimal. Ids made later sort
    later: to the millisecond between processes, strictly within one.
    """
    global _newest, _pool
    with _lock:
        _pool = _pool or os.urandom(_POOL_BYTES)
        random, _pool = int.from_bytes(_pool[:_RANDOM_BYTES], "big"), _pool[_RANDOM_BYTES:]
        number = time.time_ns() // 1_000_000 << 80 | random
        _newest = number = max(number, _newest + 1)
    return f"b{number:031x}"


def first_id(moment: datetime) -> str:
    """Give what sorts before every id that was made from a moment on, and after those before."""
    return f"b{max(0, math.floor(moment.timestamp() * 1000)) << 80:031x}"


def moment_of(id_: str) -> datetime:
    """Tell when an id was made, to the millisecond."""
    return datetime.fromtimestamp((int(id_[1:], 16) >> 80) / 1000, UTC)


def _forget_pool() -> None:
    """Keep a forked process from making the ids of its parent."""
    global _pool
    _pool = b""


os.register_at_fork(after_in_child=_forget_pool)
