"""Sends calls with the same key to the same agent: rendezvous hashing.

Each caller computes the same without asking, and an agent that comes or goes moves only its own
keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from brikk_shared.selection.option import Option

_MASK = 0xFFFFFFFF


def rendezvous(key: str, options: Sequence[Option]) -> Option:
    """Returns the option, of at least one, with the greatest hash of its agent and the key."""
    seed = crc32(key.encode())
    return max(options, key=lambda each: _mixed(crc32(each.agent.encode(), seed)))


def _mixed(value: int) -> int:
    # A CRC alone is linear: the order among the agents would hardly depend on the key.
    value = (value ^ value >> 16) * 0x7FEB352D & _MASK
    value = (value ^ value >> 15) * 0x846CA68B & _MASK
    return value ^ value >> 16
