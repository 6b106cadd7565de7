"""What is wrong with a definition, and where in its text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NamedTuple

from brikk_shared.path import Path, written
from brikk_workflow.domain.payload import scrub

MAX_PROBLEMS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What is wrong, where, and what to write instead; line and column from 1, 0 if unknown."""

    path: str
    message: str
    line: int = 0
    column: int = 0


class Mark(NamedTuple):
    """A place in a text, from 1."""

    line: int
    column: int


@dataclass(kw_only=True, slots=True)
class Report:
    """The problems found so far. `keys` and `values` tell where each path stands in the text.

    Values at `broken` paths could not be read: what they turned into is not judged.
    """

    problems: list[Problem] = field(default_factory=list)
    keys: dict[Path, Mark] = field(default_factory=dict)
    values: dict[Path, Mark] = field(default_factory=dict)
    broken: set[Path] = field(default_factory=set)

    def value(self, path: Path, message: str) -> None:
        """Add a problem with a value, or with what it lacks."""
        if path in self.broken:
            return
        place = path
        while place and place not in self.values:
            place = place[:-1]
        self.at(path, message, self.values.get(place))

    def unreadable(self, path: Path, message: str) -> None:
        """Add a problem with a value that has to be left out."""
        self.value(path, message)
        self.broken.add(path)

    def key(self, path: Path, message: str) -> None:
        """Add a problem with a key, which the path ends with."""
        self.at(path, message, self.keys.get(path))

    def at(self, path: Path, message: str, mark: Mark | None) -> None:
        """Add a problem at a place of the text."""
        line, column = mark or (0, 0)
        self.problems.append(
            Problem(path=scrub(written(path)), message=scrub(message), line=line, column=column)
        )

    def nearest(self, name: str, known: Iterable[str]) -> str:
        """Return what to add to "there is no such name": the known one that may be meant."""
        if self.full:  # nobody will read it, and it takes milliseconds
            return ""
        close = get_close_matches(name, list(known), n=1)
        return f"; did you mean `{close[0]}`?" if close else ""

    @property
    def full(self) -> bool:
        """Whether there are more problems than anybody is told."""
        return len(self.problems) > MAX_PROBLEMS

    def in_order(self) -> list[Problem]:
        """Return the problems as they stand in the text, at most MAX_PROBLEMS."""
        self.problems.sort(key=lambda problem: (problem.line, problem.column))
        return self.problems[:MAX_PROBLEMS]
