"""What a payload may hold, so that no value poisons a batch, a store or an agent."""

from __future__ import annotations

import math
from collections.abc import Mapping

from brikk_shared.cel.values import LARGEST_INTEGER, Json, scrub, unstorable
from brikk_shared.errors import InvalidArgument, Reason
from brikk_shared.path import Path, written

__all__ = ["LARGEST_INTEGER", "Json", "PayloadRefused", "check", "scrub", "unstorable"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 32


class PayloadRefused(InvalidArgument):
    """A value that must not be stored or sent; `path` leads to the culprit inside it."""

    def __init__(
        self, reason: Reason, name: str, problem: str, *, path: Path = (), limit: str = ""
    ) -> None:
        super().__init__(
            reason,
            scrub(f"{written((name, *path))} {problem}"),
            metadata={"limit": limit} if limit else {},
        )
        self.problem = problem
        self.path = path


def check(
    value: Json, name: str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH
) -> None:
    """Raise PayloadRefused unless the value can be stored and sent; errors call it by `name`.

    The size is that of the encoded protobuf Value, for that is what travels. A Struct of scalars
    has depth 1. The walk ends as soon as the value has proved too large.
    """
    try:
        _within(_size(value, max_depth, max_bytes), max_bytes)
    except _TooLarge as error:
        limit = f"{max_bytes} bytes, {max_depth} levels"
        reason = Reason.PAYLOAD_TOO_LARGE
        raise PayloadRefused(reason, name, str(error), limit=limit) from error
    except _Unacceptable as error:
        reason = Reason.INVALID_FIELD
        raise PayloadRefused(reason, name, str(error), path=error.path) from error


class _TooLarge(Exception):
    """The whole is too large or too deep, wherever the last straw lies."""


class _Unacceptable(Exception):
    """A scalar or a key, at a path that grows on the way out."""

    path: Path = ()


def _size(value: Json, depth: int, budget: int) -> int:
    """Return the encoded size of a protobuf Value, in bytes."""
    if isinstance(value, str):
        return 1 + _framed(_text_size(value))
    if value is None or isinstance(value, bool):
        return 2
    if isinstance(value, float | int):
        _check_number(value)
        return 9
    if depth == 0:
        raise _TooLarge("is nested too deeply")
    total = 0
    step: str | int = 0
    try:
        if isinstance(value, Mapping):
            for step, item in value.items():
                entry = 2 + _framed(_text_size(step)) + _framed(_size(item, depth - 1, budget))
                total = _within(total + 1 + _framed(entry), budget)
        else:
            for step in range(len(value)):
                entry = _size(value[step], depth - 1, budget)
                total = _within(total + 1 + _framed(entry), budget)
    except _Unacceptable as error:
        error.path = (step, *error.path)
        raise
    return 1 + _framed(total)


def _text_size(text: str) -> int:
    if text.isascii() and "\0" not in text:
        return len(text)
    if unstorable(text):
        raise _Unacceptable("holds a NUL or half a surrogate pair")
    return len(text.encode())


def _check_number(number: float) -> None:
    if not math.isfinite(number):
        raise _Unacceptable("is not a finite number")
    if isinstance(number, int) and abs(number) > LARGEST_INTEGER:
        raise _Unacceptable("is an integer beyond 2^53: write it as a string")


def _within(size: int, budget: int) -> int:
    if size > budget:
        raise _TooLarge("is too large")
    return size


def _framed(size: int) -> int:
    """Return the size with that of its length prefix, a varint of seven bits a byte."""
    return size + (1 if size < 128 else (size.bit_length() + 6) // 7)
