"""How labels of alerts are compared, wherever people say which alerts they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from brikk_shared.errors import invalid_field
from brikk_shared.pattern import compile_pattern

Labels = Mapping[str, str]


class Operator(IntEnum):
    """How a label is compared; the numbers are those that are stored."""

    EQUAL = 1
    NOT_EQUAL = 2
    MATCHES = 3
    NOT_MATCHES = 4

    @property
    def sign(self) -> str:
        """How people write it."""
        return {
            Operator.EQUAL: "=",
            Operator.NOT_EQUAL: "!=",
            Operator.MATCHES: "=~",
            Operator.NOT_MATCHES: "!~",
        }[self]


@dataclass(frozen=True, kw_only=True, slots=True)
class Matcher:
    """Compares a label; one that an alert lacks is empty."""

    label: str
    operator: Operator = Operator.EQUAL
    value: str = ""

    def matches(self, labels: Labels) -> bool:
        """Tell whether an alert with these labels is meant."""
        found = labels.get(self.label, "")
        match self.operator:
            case Operator.EQUAL:
                return found == self.value
            case Operator.NOT_EQUAL:
                return found != self.value
            case Operator.MATCHES:
                return _matches(self.value, found)
            case Operator.NOT_MATCHES:
                return not _matches(self.value, found)

    def __str__(self) -> str:
        return f"{self.label}{self.operator.sign}{self.value}"


Matchers = tuple[Matcher, ...]


def match_all(matchers: Iterable[Matcher], labels: Labels) -> bool:
    """Tell whether all match; they do when there are none."""
    return all(matcher.matches(labels) for matcher in matchers)


def check_matchers(field: str, matchers: Matchers) -> None:
    """Make sure that regular expressions are such.

    Raises:
        InvalidArgument: one is not.
    """
    for place, matcher in enumerate(matchers):
        if matcher.operator in (Operator.MATCHES, Operator.NOT_MATCHES):
            try:
                compile_pattern(matcher.value)
            except ValueError as error:
                raise invalid_field(f"{field}[{place}].value", str(error)) from error


# An expression takes microseconds, and the same few labels are looked at again and again.
@lru_cache(maxsize=65_536)
def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern)(text)


_compiled = lru_cache(maxsize=4096)(lambda pattern: compile_pattern(f"^(?:{pattern})$"))
