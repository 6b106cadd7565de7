"""Durations as people write them: `200ms`, `5s`, `1h30m`, `1d`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
PATTERN = (
    r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9}(?:\.[0-9]{1,6})?)s)?"
    r"(?:([0-9]{1,9})ms)?"
)
"""It also accepts nothing at all, which is no duration."""

_DURATION = re.compile(PATTERN)


def parse_duration(text: str) -> timedelta:
    """Return the duration; units go from large to small, each once. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text!r} is no duration: write 200ms, 5s, 1h30m or 1d")
    amounts = (float(amount or 0) for amount in found.groups())
    try:
        return sum(
            (unit * amount for unit, amount in zip(_UNITS.values(), amounts, strict=True)),
            timedelta(),
        )
    except OverflowError:
        raise ValueError(f"{text!r} is too long for a duration") from None


def format_duration(duration: timedelta) -> str:
    """Return the duration as `parse_duration` reads it, to the millisecond."""
    written = ""
    for name, unit in _UNITS.items():
        amount, duration = divmod(duration, unit)
        written += f"{amount}{name}" if amount else ""
    return written or "0s"
