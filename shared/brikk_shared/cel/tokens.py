"""The words of a CEL expression, enough to find what it refers to and where it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a token is; every operator and bracket is a token of one character.

    A string that is not closed is BROKEN and takes in the rest of its line: to look for a string
    again at each of its quotes would take quadratic time.
    """

    STRING = "string"
    FLOAT = "float"
    INTEGER = "integer"
    NAME = "name"
    SIGN = "sign"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Token:
    """A word of an expression; `end` is the index after it."""

    kind: Kind
    text: str
    end: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable with the members selected from it: `input.a.b` is ("input", "a", "b").

    `first` and `last` are the indexes of its tokens. A name that is called is not a member.
    """

    path: tuple[str, ...]
    first: int
    last: int


_TOKEN = re.compile(
    r"""
    (?P<space>\s+ | //[^\n]*)
  | (?P<string>
        (?:[rR][bB]?|[bB][rR]) (?:\"{3}.*?\"{3} | '{3}.*?'{3} | \"[^\"\n]*\" | '[^'\n]*')
      | [bB]? (?:\"{3}(?:[^\\]|\\.)*?\"{3} | '{3}(?:[^\\]|\\.)*?'{3}
               | \"(?:[^\\\"\n]|\\.)*\" | '(?:[^\\'\n]|\\.)*')
    )
  | (?P<broken>["'][^\n]*)
  | (?P<float>\d+\.\d+(?:[eE][+-]?\d+)? | \d+[eE][+-]?\d+ | \.\d+(?:[eE][+-]?\d+)?)
  | (?P<integer>0x[0-9a-fA-F]+[uU]? | \d+[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def tokenize(text: str, start: int = 0) -> Iterator[Token]:
    """Yield the tokens from `start` on; what is malformed comes out as it is, for CEL to refuse."""
    for found in _TOKEN.finditer(text, start):
        if found.lastgroup is not None and found.lastgroup != "space":
            yield Token(Kind(found.lastgroup), found.group(), found.end())


def references(tokens: list[Token]) -> list[Reference]:
    """Return every name that may be a variable, with its members."""
    found = []
    index = 0
    while index < len(tokens):
        first = index
        index += 1
        if (
            tokens[first].kind is not Kind.NAME
            or is_sign(tokens, index, "(")
            or selects(tokens, first)
        ):
            continue
        path = [tokens[first].text]
        while (
            is_sign(tokens, index, ".")
            and index + 1 < len(tokens)
            and tokens[index + 1].kind is Kind.NAME
            and not is_sign(tokens, index + 2, "(")
        ):
            path.append(tokens[index + 1].text)
            index += 2
        found.append(Reference(tuple(path), first, index - 1))
    return found


def is_sign(tokens: list[Token], index: int, sign: str) -> bool:
    """Tell whether the token at the index, which may be out of range, is this one."""
    return 0 <= index < len(tokens) and tokens[index].text == sign


def selects(tokens: list[Token], index: int) -> bool:
    """Tell whether the name is selected from something, as `b` in `a().b` and in `a.?b`."""
    if is_sign(tokens, index - 1, "?"):
        index -= 1
    if not is_sign(tokens, index - 1, "."):
        return False
    before = index - 2  # a leading dot, as in `.input`, selects from nothing
    return before >= 0 and (tokens[before].kind is not Kind.SIGN or tokens[before].text in ")]}`")
