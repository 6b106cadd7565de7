"""Conversion between Python values and protobuf Structs, many times faster than json_format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TypeAlias

from google.protobuf.struct_pb2 import NULL_VALUE, Struct, Value

# The contract's limits on an input and on an output (brikk.agent.v1).
MAX_DEPTH = 32
MAX_BYTES = 1 << 20
# Above it neighbouring whole numbers are one and the same double, which is all a Struct can hold.
_MAX_WHOLE = 1 << 53

Json: TypeAlias = "bool | float | str | list[Json] | dict[str, Json] | None"


class Unrepresentable(ValueError):
    """A value that a Struct cannot carry; the text names its path and what is wrong with it."""

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(f"{path}: {problem}")
        self.problem = problem
        self.path = path

    def under(self, parent: str) -> Unrepresentable:
        """The same error, seen from one level further out."""
        return Unrepresentable(self.problem, parent + self.path)


def from_struct(struct: Struct) -> dict[str, Json]:
    """Returns the Struct as a dict; every number is a float, because a Struct knows no other."""
    members = struct.fields
    return {name: _from_value(members[name]) for name in members}  # items() costs twice as much


def _from_value(value: Value) -> Json:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        return value.number_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    return None


def to_struct(output: object, *, name: str) -> Struct:
    """Converts a mapping or a dataclass, with whatever it holds, into a Struct.

    Raises Unrepresentable, with a path that begins with `name`, for NUL characters and lone
    surrogates, NaN and infinities, whole numbers beyond 2^53, types that JSON does not know, more
    than 32 levels, and more than 1 MiB.
    """
    struct = Struct()
    fill_struct(struct, output, name=name)
    return struct


def fill_struct(struct: Struct, output: object, *, name: str) -> None:
    """Converts like `to_struct` into an empty Struct that is part of a larger message."""
    try:
        _fill_struct(struct, _members(output), 1)
    except Unrepresentable as error:
        raise error.under(name) from None
    size = struct.ByteSize()
    if size > MAX_BYTES:
        raise Unrepresentable(f"has {size} bytes; at most {MAX_BYTES} are allowed", name)


def _members(value: object) -> Mapping[object, object]:
    if isinstance(value, (dict, Mapping)):  # a dict is told at once, a Mapping is looked up
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise Unrepresentable(f"must be a dict or a dataclass, not {_kind(value)}")


def _fill_struct(struct: Struct, members: Mapping[object, object], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Unrepresentable(f"lies deeper than {MAX_DEPTH} levels")
    filled = struct.fields
    for name, member in members.items():
        if not isinstance(name, str):
            raise Unrepresentable(f"has a key that is {_kind(name)}, not a string")
        _check_text(name)
        try:
            _fill_value(filled[name], member, depth)
        except Unrepresentable as error:
            raise error.under(f".{name}") from None


def _fill_value(value: Value, item: object, depth: int) -> None:
    if isinstance(item, str):
        _check_text(item)
        value.string_value = item
    elif isinstance(item, bool):
        value.bool_value = item
    elif isinstance(item, int):
        if abs(item) > _MAX_WHOLE:
            raise Unrepresentable("is a whole number beyond 2^53; return it as a string")
        value.number_value = item
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise Unrepresentable(f"is {item}, which JSON does not have")
        value.number_value = item
    elif item is None:
        value.null_value = NULL_VALUE
    elif isinstance(item, (list, tuple)):
        _fill_list(value, item, depth + 1)
    else:
        value.struct_value.SetInParent()  # an empty Struct would otherwise be no value at all
        _fill_struct(value.struct_value, _members(item), depth + 1)


def _fill_list(value: Value, items: list[object] | tuple[object, ...], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Unrepresentable(f"lies deeper than {MAX_DEPTH} levels")
    value.list_value.SetInParent()
    values = value.list_value.values
    for index, item in enumerate(items):
        try:
            _fill_value(values.add(), item, depth)
        except Unrepresentable as error:
            raise error.under(f"[{index}]") from None


def _check_text(text: str) -> None:
    if "\0" in text:
        raise Unrepresentable("contains a NUL character")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unrepresentable("contains a lone surrogate, which UTF-8 cannot encode") from None


def _kind(value: object) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
