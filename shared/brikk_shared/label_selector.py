"""Which labels are wanted, in the syntax of Kubernetes' label selectors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(r"[ \t\r\n]*(?:(?P<word>[^ \t\r\n=!(),<>]+)|(?P<mark>==|!=|[=!(),<>]))")
_BLANK: Final = " \t\r\n"


class MalformedSelector(ValueError):
    """A text that is no selector: what is wrong, and at which character of it, counted from 1."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.position = position


class Operator(StrEnum):
    """What a requirement asks of a label."""

    IN = auto()
    NOT_IN = auto()
    """Holds without the label, too."""
    EXISTS = auto()
    ABSENT = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """What must hold of one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Judge labels."""
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.ABSENT:
                return self.key not in labels


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """Read `a=b,c!=d,e in (f,g),h notin (i),j,!k`; all of it must hold. Nothing asks for nothing.

    The rules are those of https://kubernetes.io/docs/concepts/overview/working-with-objects/labels,
    but keys and values may be whatever labels here may be.

    Raises:
        MalformedSelector: the text is something else.
    """
    if not text.strip(_BLANK):
        return ()
    return _Reader(text).selector()


class _Token(NamedTuple):
    text: str
    position: int
    word: bool


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def selector(self) -> tuple[Requirement, ...]:
        requirements = [self._requirement()]
        while self._next.text:
            self._take(",", "a comma or the end")
            requirements.append(self._requirement())
        return tuple(requirements)

    def _requirement(self) -> Requirement:
        if self._skip("!"):
            return Requirement(key=self._word("a key"), operator=Operator.ABSENT)
        key = self._word("a key or '!'")
        if self._skip("=") or self._skip("=="):
            return Requirement(key=key, operator=Operator.IN, values=frozenset([self._value()]))
        if self._skip("!="):
            return Requirement(key=key, operator=Operator.NOT_IN, values=frozenset([self._value()]))
        if self._skip("in"):
            return Requirement(key=key, operator=Operator.IN, values=self._values())
        if self._skip("notin"):
            return Requirement(key=key, operator=Operator.NOT_IN, values=self._values())
        if self._next.text not in ("", ","):
            raise self._unexpected("=, ==, !=, in, notin, a comma or the end")
        return Requirement(key=key, operator=Operator.EXISTS)

    def _values(self) -> frozenset[str]:
        self._take("(", "'('")
        values = {self._value()}
        while self._skip(","):
            values.add(self._value())
        self._take(")", "a comma or ')'")
        return frozenset(values)

    def _value(self) -> str:
        """Take a value; where none stands, it is the empty one."""
        return self._word("a value") if self._next.word else ""

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _skip(self, text: str) -> bool:
        found = self._next.text == text
        self._at += found
        return found

    def _take(self, text: str, expected: str) -> None:
        if not self._skip(text):
            raise self._unexpected(expected)

    def _word(self, expected: str) -> str:
        token = self._next
        if not token.word:
            raise self._unexpected(expected)
        self._at += 1
        return token.text

    def _unexpected(self, expected: str) -> MalformedSelector:
        found = repr(self._next.text) if self._next.text else "the end"
        return MalformedSelector(f"expected {expected}, found {found}", self._next.position)


def _tokens(text: str) -> list[_Token]:
    """Cut a selector up; the last token is empty, and stands after the end."""
    tokens = [
        _Token(found[found.lastgroup], found.start(found.lastgroup) + 1, found.lastgroup == "word")
        for found in _TOKEN.finditer(text)
        if found.lastgroup is not None
    ]
    return [*tokens, _Token("", len(text) + 1, word=False)]
