"""The values of expressions: JSON, with what stores, messages and doubles can hold of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

MAX_ERROR_BYTES = 4096
LARGEST_INTEGER = 1 << 53
"""Beyond it a double, which every number of a payload is, no longer tells integers apart."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def scrub(text: str) -> str:
    r"""Return error text that can be stored anywhere: NUL and surrogates as \x00, at most 4 KiB."""
    text = _UNSTORABLE.sub(lambda found: ascii(found[0])[1:-1], text[:MAX_ERROR_BYTES])
    encoded = text.encode()
    if len(encoded) <= MAX_ERROR_BYTES:
        return text
    return encoded[: MAX_ERROR_BYTES - 3].decode(errors="ignore") + "…"


def unstorable(text: str) -> bool:
    """Tell whether a text holds a NUL or half a surrogate pair, which cannot be stored anywhere."""
    return _UNSTORABLE.search(text) is not None


def kind_of(value: object) -> str:
    """Return how people call the kind of a value, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, float | int):
        return "a number"
    if isinstance(value, timedelta):
        return "a duration"
    return "an object" if isinstance(value, Mapping) else "a list"
