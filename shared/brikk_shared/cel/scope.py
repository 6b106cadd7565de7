"""What an expression reads, and the plain paths into it, which need no CEL."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from brikk_shared.cel.tokens import Kind, Token
from brikk_shared.cel.values import Json, kind_of
from brikk_shared.path import Path, written

_SIMPLE_TEXT = re.compile(r"""(["'])[^"'\\]*\1""")


class NoSuchValue(Exception):
    """A path leads nowhere in the values."""


class Scope(Protocol):
    """The variables of one evaluation."""

    def variable(self, name: str) -> Json:
        """Return what a variable holds."""

    def look_up(self, path: Path) -> Json:
        """Return the value at a path, which begins with a variable. Raises NoSuchValue."""


def walk(value: Json, path: Path, start: int) -> Json:
    """Return what stands under a value, at the rest of a path from `start` on.

    Raises NoSuchValue.
    """
    for index in range(start, len(path)):
        part = path[index]
        if isinstance(part, str):
            if not isinstance(value, Mapping):
                raise NoSuchValue(f"{written(path[:index])} is {kind_of(value)}, not an object")
            if part not in value:
                raise NoSuchValue(f"{written(path[:index])} has no member {part!r}")
            value = value[part]
        else:
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise NoSuchValue(f"{written(path[:index])} is {kind_of(value)}, not a list")
            if part >= len(value):
                raise NoSuchValue(f"{written(path[:index])} has only {len(value)} items")
            value = value[part]
    return value


def plain_path(tokens: list[Token], variables: Collection[str]) -> Path | None:
    """Return the path if the whole expression is one, as `input.tickets[0].body`, else None."""
    if not tokens or tokens[0].text not in variables:
        return None
    path: list[str | int] = [tokens[0].text]
    index = 1
    while index < len(tokens):
        sign = tokens[index].text
        part = tokens[index + 1] if index + 1 < len(tokens) else None
        if part is None:
            return None
        if sign == "." and part.kind is Kind.NAME:
            path.append(part.text)
            index += 2
        elif sign == "[" and len(tokens) > index + 2 and tokens[index + 2].text == "]":
            if part.kind is Kind.INTEGER and part.text.isdigit():
                path.append(int(part.text))
            elif part.kind is Kind.STRING and _SIMPLE_TEXT.fullmatch(part.text):
                path.append(part.text[1:-1])
            else:
                return None
            index += 3
        else:
            return None
    return tuple(path)
