"""The values of the workflow language: how each is read, and how editors are told of it.

What is wrong with a value is reported, and UNREAD stands for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, cast

from brikk_shared.cel.values import kind_of
from brikk_shared.path import Path
from brikk_workflow.domain.duration import PATTERN as DURATION
from brikk_workflow.domain.duration import format_duration, parse_duration
from brikk_workflow.domain.payload import Json, PayloadRefused, check
from brikk_workflow.domain.problems import Report

UNREAD: Any = object()


class Shape(Protocol):
    """A kind of value."""

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Return the value that somebody wrote, or UNREAD."""

    def write(self, value: Any) -> Any:
        """Return the plain value that is read as this one; durations stay what they are."""

    def blank(self) -> Any:
        """Return what stands for a value that has to be there and could not be read."""

    def schema(self) -> dict[str, Json]:
        """Return its JSON Schema."""


class AsItIs:
    """What is written as it was read."""

    __slots__ = ()

    def write(self, value: Any) -> Any:
        """Write one."""
        return value


class Form(NamedTuple):
    """A pattern and, for people, what it says."""

    pattern: str
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Text(AsItIs):
    """A text; of one that `varies` only what holds no `${expressions}` must have the form."""

    longest: int
    shortest: int = 0
    form: Form | None = None
    varies: bool = False

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        if not isinstance(raw, str):
            report.value(path, f"expected a string, found {kind_of(raw)}")
        elif len(raw) > self.longest:
            report.value(path, f"is longer than {self.longest} characters")
        elif len(raw) < self.shortest:
            report.value(path, "is empty")
        elif not self._has_form(raw):
            assert self.form is not None
            report.value(path, f"{raw!r} is not accepted: {self.form.words}")
        else:
            return raw
        return UNREAD

    def blank(self) -> str:
        """Stand for one."""
        return ""

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        schema: dict[str, Json] = {"type": "string", "maxLength": self.longest}
        if self.shortest:
            schema["minLength"] = self.shortest
        if self.form is not None:
            whole = f"^({self.form.pattern})$"
            schema["pattern"] = f"{whole}|[$][{{]" if self.varies else whole
        return schema

    def _has_form(self, text: str) -> bool:
        if self.form is None or (self.varies and "${" in text):
            return True
        return re.fullmatch(self.form.pattern, text) is not None


@dataclass(frozen=True, slots=True)
class Word:
    """One of some words."""

    words: type[StrEnum]

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        words = [word.value for word in self.words]
        if raw in words:
            return self.words(raw)
        hint = report.nearest(raw, words) if isinstance(raw, str) else ""
        report.value(path, f"expected one of {', '.join(words)}{hint}")
        return UNREAD

    def write(self, value: StrEnum) -> str:
        """Write one."""
        return value.value

    def blank(self) -> StrEnum:
        """Stand for one."""
        return next(iter(self.words))

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        return {"enum": [word.value for word in self.words]}


@dataclass(frozen=True, slots=True)
class Number(AsItIs):
    """A number in bounds."""

    lowest: float
    highest: float

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        if isinstance(raw, bool) or not isinstance(raw, float | int):
            report.value(path, f"expected a number, found {kind_of(raw)}")
        elif not self.lowest <= raw <= self.highest:
            bounds = f"from {self.lowest:,.15g} to {self.highest:,.15g}"
            report.value(path, f"is {raw:g}; it must be {bounds}")
        else:
            return float(raw)
        return UNREAD

    def blank(self) -> float:
        """Stand for one."""
        return self.lowest

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        return {"type": "number", "minimum": self.lowest, "maximum": self.highest}


@dataclass(frozen=True, slots=True)
class Whole(AsItIs):
    """A whole number in bounds."""

    lowest: int
    highest: int

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        number = Number(self.lowest, self.highest).read(raw, path, report)
        if number is not UNREAD and number != int(number):
            report.value(path, f"is {number:g}; it must be a whole number")
            return UNREAD
        return number if number is UNREAD else int(number)

    def blank(self) -> int:
        """Stand for one."""
        return self.lowest

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        return {"type": "integer", "minimum": self.lowest, "maximum": self.highest}


@dataclass(frozen=True, slots=True)
class Duration(AsItIs):
    """A duration in bounds: a timedelta or a text such as `5s`."""

    lowest: timedelta
    highest: timedelta

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        if isinstance(raw, str):
            try:
                raw = parse_duration(raw)
            except ValueError as error:
                report.value(path, str(error))
                return UNREAD
        if not isinstance(raw, timedelta):
            report.value(path, f"expected a duration such as 5s, found {kind_of(raw)}")
        elif not self.lowest <= raw <= self.highest:
            limits = f"{format_duration(self.lowest)} to {format_duration(self.highest)}"
            report.value(path, f"is {format_duration(raw)}; it must be from {limits}")
        else:
            return raw
        return UNREAD

    def blank(self) -> timedelta:
        """Stand for one."""
        return self.lowest

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        return {"type": "string", "pattern": f"^(?=.){DURATION}$"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Payload(AsItIs):
    """Any value that can be stored, or any object."""

    max_bytes: int
    max_depth: int
    is_object: bool = False

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        if self.is_object and not isinstance(raw, Mapping):
            report.value(path, f"expected an object, found {kind_of(raw)}")
            return UNREAD
        value = cast("Json", raw)
        try:
            check(value, str(path[-1]), max_bytes=self.max_bytes, max_depth=self.max_depth)
        except PayloadRefused as refusal:
            report.value((*path, *refusal.path), refusal.problem)
            return UNREAD
        return value

    def blank(self) -> Json:
        """Stand for one."""
        return {} if self.is_object else None

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        return {"type": "object"} if self.is_object else {}


@dataclass(frozen=True, slots=True)
class Items:
    """A list of values of one shape, of which those that cannot be read are left out."""

    item: Shape
    most: int
    fewest: int = 0

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        if isinstance(raw, str) or not isinstance(raw, Sequence):
            report.value(path, f"expected a list, found {kind_of(raw)}")
            return UNREAD
        if not self.fewest <= len(raw) <= self.most:
            problem = f"holds {len(raw)} items; {self.fewest} to {self.most} are accepted"
            report.value(path, problem)
        items = (
            self.item.read(item, (*path, index), report)
            for index, item in enumerate(raw[: self.most])
        )
        return tuple(item for item in items if item is not UNREAD)

    def write(self, value: Sequence[Any]) -> list[Any]:
        """Write them."""
        return [self.item.write(item) for item in value]

    def blank(self) -> tuple[()]:
        """Stand for one."""
        return ()

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        schema: dict[str, Json] = {
            "type": "array",
            "items": self.item.schema(),
            "maxItems": self.most,
        }
        return schema | {"minItems": self.fewest} if self.fewest else schema


@dataclass(frozen=True, slots=True)
class Texts(AsItIs):
    """An object of texts, by names of any kind."""

    text: Text
    most: int

    def read(self, raw: object, path: Path, report: Report) -> Any:
        """Read one."""
        if not isinstance(raw, Mapping):
            report.value(path, f"expected an object, found {kind_of(raw)}")
            return UNREAD
        if len(raw) > self.most:
            report.value(path, f"holds {len(raw)} members; {self.most} are accepted")
        for key in raw:
            if len(key) > self.text.longest:
                report.key((*path, key), f"is longer than {self.text.longest} characters")
        texts = {key: self.text.read(item, (*path, key), report) for key, item in raw.items()}
        return {key: text for key, text in texts.items() if text is not UNREAD}

    def blank(self) -> Mapping[str, str]:
        """Stand for one."""
        return {}

    def schema(self) -> dict[str, Json]:
        """Tell editors what it is."""
        return {
            "type": "object",
            "maxProperties": self.most,
            "additionalProperties": self.text.schema(),
            "propertyNames": {"maxLength": self.text.longest},
        }
