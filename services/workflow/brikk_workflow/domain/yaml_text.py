"""YAML as plain data that knows where it stands: the part of YAML that JSON has, and no more.

Aliases, tags and several documents are refused, and YAML 1.1's surprises are gone: `no` is a text
and `1:30` is not ninety. Nesting ends early, for libyaml takes minutes over deep flow brackets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Protocol

import yaml

from brikk_shared.path import Path
from brikk_workflow.domain.payload import LARGEST_INTEGER, Json, unstorable
from brikk_workflow.domain.problems import Mark, Report

MAX_LENGTH = 1 << 18
MAX_DEPTH = 64

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})


def load_yaml(text: str, report: Report) -> Json:
    """Return what the text holds; what is wrong with it goes into the report, with its place."""
    if len(text) > MAX_LENGTH:
        report.at((), f"the text is longer than {MAX_LENGTH // 1024} KiB", Mark(1, 1))
        return None
    text = text.removeprefix("\ufeff")
    unprintable = list(_UNPRINTABLE.finditer(text))
    for found in unprintable[:10]:
        line = text.count("\n", 0, found.start()) + 1
        mark = Mark(line, found.start() - text.rfind("\n", 0, found.start()))
        report.at((), f"the text holds the unprintable character {found[0]!a}", mark)
    if unprintable:
        return None
    try:
        return _Loader(text, report).load()
    except yaml.MarkedYAMLError as error:
        mark = _mark(error.problem_mark or error.context_mark)
        report.at((), f"the text is no YAML: {error.problem}{_hint(text, mark)}", mark)
    except _Unreadable as error:
        report.at(error.path, error.problem, error.mark)
    return None


class _Place(Protocol):
    """A mark of PyYAML, or one of libyaml; both count from 0."""

    line: int
    column: int


class _Unreadable(Exception):
    """Something after which the rest of the text has no meaning."""

    def __init__(self, path: Path, problem: str, place: _Place | None) -> None:
        super().__init__(problem)
        self.path = path
        self.problem = problem
        self.mark = _mark(place)


class _Loader:
    """Builds the data from the events of the parser."""

    def __init__(self, text: str, report: Report) -> None:
        loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=loader)
        self._report = report

    def load(self) -> Json:
        """Return the data of the only document."""
        loaded: Json = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Unreadable((), "the text holds a second document", event.start_mark)
            elif isinstance(event, yaml.NodeEvent):
                loaded = self._node(event, ())
        if not documents:
            self._report.at((), "the text is empty", Mark(1, 1))
        return loaded

    def _node(self, event: yaml.Event, path: Path) -> Json:
        self._report.values[path] = _mark(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            self._report.unreadable(
                path, f"is an alias: write the value instead of `*{event.anchor}`"
            )
            return None
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if event.anchor is not None:
            self._report.value(path, f"has an anchor: leave out `&{event.anchor}`")
        if event.tag not in (None, "!"):
            self._report.value(path, "has a tag: leave it out")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if len(path) == MAX_DEPTH:
            raise _Unreadable((), "the text nests too deeply", event.start_mark)
        return (
            self._list(path) if isinstance(event, yaml.SequenceStartEvent) else self._object(path)
        )

    def _list(self, path: Path) -> list[Json]:
        items: list[Json] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _object(self, path: Path) -> dict[str, Json]:
        members: dict[str, Json] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _Unreadable(path, "has a key that is no text", event.start_mark)
            members |= self._member(event, path, members)
        return members

    def _member(
        self, key: yaml.ScalarEvent, path: Path, others: Mapping[str, Json]
    ) -> Mapping[str, Json]:
        mark = _mark(key.start_mark)
        name = key.value
        if unstorable(name):
            self._report.at(path, "has a key with a NUL or half a surrogate pair", mark)
        elif name in others:
            self._report.at((*path, name), "is here a second time", mark)
        else:
            self._report.keys[*path, name] = mark
            return {name: self._node(next(self._events), (*path, name))}
        self._node(next(self._events), (*path, f"{name} (left out)"))
        return {}

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Json:
        text = event.value
        if unstorable(text):
            self._report.unreadable(path, "holds a NUL or half a surrogate pair")
            return ""
        if event.style or text not in _NULL | _TRUE | _FALSE:
            is_number = not event.style and _FLOAT.fullmatch(text)
            return self._number(text, path) if is_number else text
        return None if text in _NULL else text in _TRUE

    def _number(self, text: str, path: Path) -> float:
        """Return a double, for that is what every number of a payload is."""
        number = float(text)
        # Digits beyond the 17th are beyond 2^53 as well, and converting many takes long.
        if _INTEGER.fullmatch(text) and abs(int(text[:20])) > LARGEST_INTEGER:
            self._report.unreadable(path, "is an integer beyond 2^53: write it in quotes")
        elif not math.isfinite(number):
            self._report.unreadable(path, "is too large for a number")
        return number


def _mark(place: _Place | None) -> Mark:
    return Mark(1, 1) if place is None else Mark(place.line + 1, place.column + 1)


def _hint(text: str, mark: Mark) -> str:
    """Return what to do about the characters that YAML refuses without a reason."""
    lines = text.splitlines()
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    character = line[mark.column - 1 : mark.column]
    if character == "\t":
        return "; indent with spaces, not tabs"
    if character in ("@", "`", "%"):
        return "; put the text in quotes"
    return "; a text with `: ` in it stands in quotes" if character == ":" else ""
