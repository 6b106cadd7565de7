"""The checks that a validation plan is made of: one per kind of value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from google.protobuf import struct_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from brikk_shared.errors import FieldViolation

MAX_VIOLATIONS = 50

# https://protobuf.dev/reference/protobuf/google.protobuf/: ten thousand years; years 1 to 9999.
_LONGEST_DURATION = 315_576_000_000
_FIRST_TIMESTAMP = -62_135_596_800
_LAST_TIMESTAMP = 253_402_300_799
_NANOS = 999_999_999


class TooMany(Exception):
    """There is no point in looking further."""


class Violations:
    """What is wrong with a message."""

    def __init__(self) -> None:
        self.found: list[FieldViolation] = []

    def add(self, prefix: str, name: str, description: str) -> None:
        """Note one. TooMany when it is the last that is told."""
        self.found.append(FieldViolation(prefix + name, description))
        if len(self.found) >= MAX_VIOLATIONS:
            raise TooMany


# A value, the path of its message with a dot at the end, its own name there, and where to complain.
# The two are joined only when something is wrong.
Check: TypeAlias = Callable[[Any, str, str, Violations], None]


def text(max_length: int, pattern: str) -> Check:
    """A string. An empty field is not set, so it is not asked; an empty item must match."""
    match = re.compile(pattern).fullmatch if pattern else None

    def check(value: str, prefix: str, name: str, violations: Violations) -> None:
        if len(value) > max_length:
            violations.add(prefix, name, f"is longer than {max_length} characters")
        elif "\0" in value:
            violations.add(prefix, name, "contains a NUL character")
        elif match is not None and match(value) is None:
            violations.add(prefix, name, f"does not match {pattern}")

    return check


def content(max_bytes: int) -> Check:
    """A bytes value."""

    def check(value: bytes, prefix: str, name: str, violations: Violations) -> None:
        if len(value) > max_bytes:
            violations.add(prefix, name, f"is larger than {max_bytes} bytes")

    return check


def number(minimum: float, maximum: float, *, unit: str = "") -> Check:
    """A finite number within bounds."""

    def check(value: float, prefix: str, name: str, violations: Violations) -> None:
        if minimum <= value <= maximum and -math.inf < value < math.inf:
            return
        if not math.isfinite(value):
            violations.add(prefix, name, "is not a finite number")
        elif value < minimum:
            violations.add(prefix, name, f"must be at least {minimum:g}{unit}")
        else:
            violations.add(prefix, name, f"must be at most {maximum:g}{unit}")

    return check


def enum(known: frozenset[int]) -> Check:
    """A value that the contract names."""

    def check(value: int, prefix: str, name: str, violations: Violations) -> None:
        if value not in known:
            violations.add(prefix, name, f"has no value {value}")

    return check


def duration(minimum: float, maximum: float) -> Check:
    """A Duration that exists, within bounds in seconds."""
    in_bounds = number(minimum, maximum, unit=" s")

    def check(value: Duration, prefix: str, name: str, violations: Violations) -> None:
        seconds, nanos = value.seconds, value.nanos
        if abs(seconds) > _LONGEST_DURATION or abs(nanos) > _NANOS or seconds * nanos < 0:
            violations.add(prefix, name, "is not a duration")
        else:
            in_bounds(seconds + nanos / 1e9, prefix, name, violations)

    return check


def timestamp(value: Timestamp, prefix: str, name: str, violations: Violations) -> None:
    """A Timestamp that exists."""
    if not _FIRST_TIMESTAMP <= value.seconds <= _LAST_TIMESTAMP or not 0 <= value.nanos <= _NANOS:
        violations.add(prefix, name, "is not a time")


def sized(max_bytes: int, inner: Check) -> Check:
    """A message of bounded size, looked into only when it keeps the bound."""

    def check(value: Message, prefix: str, name: str, violations: Violations) -> None:
        if value.ByteSize() > max_bytes:
            violations.add(prefix, name, f"is larger than {max_bytes} bytes")
        else:
            inner(value, prefix, name, violations)

    return check


def repeated(max_items: int, min_items: int, each: Check | None) -> Check:
    """The items of a repeated field, looked into only when there are not too many."""

    def check(values: Sequence[object], prefix: str, name: str, violations: Violations) -> None:
        if len(values) > max_items:
            violations.add(prefix, name, f"has more than {max_items} items")
        elif len(values) < min_items:
            violations.add(prefix, name, f"has fewer than {min_items} items")
        elif each is not None:
            for index, value in enumerate(values):
                each(value, prefix, f"{name}[{index}]", violations)

    return check


def entries(max_items: int, key: Check | None, value: Check | None) -> Check:
    """The entries of a map."""

    def check(
        values: Mapping[object, object], prefix: str, name: str, violations: Violations
    ) -> None:
        if len(values) > max_items:
            violations.add(prefix, name, f"has more than {max_items} entries")
            return
        for each_key, each_value in values.items():
            place = f"{name}[{str(each_key)[:64]!r}]"
            if key is not None:
                key(each_key, prefix, place, violations)
            if value is not None:
                value(each_value, prefix, place, violations)

    return check


def struct(max_depth: int) -> Check:
    """A Struct: JSON that every store can keep. One of scalars has depth 1."""

    def check(value: struct_pb2.Struct, prefix: str, name: str, violations: Violations) -> None:
        _walk_struct(value, max_depth, prefix, name, violations)

    return check


def json_list(max_depth: int) -> Check:
    """A ListValue, like a Struct."""

    def check(value: struct_pb2.ListValue, prefix: str, name: str, violations: Violations) -> None:
        _walk_list(value, max_depth, prefix, name, violations)

    return check


def json_value(max_depth: int) -> Check:
    """A Value, like a Struct."""

    def check(value: struct_pb2.Value, prefix: str, name: str, violations: Violations) -> None:
        _walk_value(value, max_depth, prefix, name, violations)

    return check


# The recursion ends where the depth does.


def _walk_struct(
    value: struct_pb2.Struct, levels: int, prefix: str, name: str, violations: Violations
) -> None:
    if levels == 0:
        violations.add(prefix, name, "is nested too deeply")
        return
    for key, item in value.fields.items():
        if "\0" in key:
            violations.add(prefix, name, "has a key with a NUL character")
        else:
            _walk_value(item, levels - 1, prefix, f"{name}.{key}", violations)


def _walk_list(
    value: struct_pb2.ListValue, levels: int, prefix: str, name: str, violations: Violations
) -> None:
    if levels == 0:
        violations.add(prefix, name, "is nested too deeply")
        return
    for index, item in enumerate(value.values):
        _walk_value(item, levels - 1, prefix, f"{name}[{index}]", violations)


def _walk_value(
    value: struct_pb2.Value, levels: int, prefix: str, name: str, violations: Violations
) -> None:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        if "\0" in value.string_value:
            violations.add(prefix, name, "contains a NUL character")
    elif kind == "number_value":
        if not math.isfinite(value.number_value):
            violations.add(prefix, name, "is not a finite number")
    elif kind == "struct_value":
        _walk_struct(value.struct_value, levels, prefix, name, violations)
    elif kind == "list_value":
        _walk_list(value.list_value, levels, prefix, name, violations)
