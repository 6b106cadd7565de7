"""JSON between Python objects and `google.protobuf.Struct`, many times faster than `json_format`.

Numbers of a Struct are doubles, so whole numbers come back as float.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from google.protobuf import struct_pb2

from brikk_shared.errors import BrikkError, FieldViolation, InvalidArgument, Reason, invalid_field

Json: TypeAlias = "bool | float | str | list[Json] | dict[str, Json] | None"
"""What `from_struct` and `from_value` return."""

MAX_DEPTH = 32
"""Deepest nesting of lists and objects; an object of scalars has depth 1. Just below what
Protobuf's decoder takes (100 messages, three to a level)."""


def to_struct(
    value: Mapping[str, object], *, field: str = "value", max_depth: int = MAX_DEPTH
) -> struct_pb2.Struct:
    """Convert a mapping.

    InvalidArgument: PAYLOAD_TOO_LARGE when it is nested too deeply; INVALID_FIELD on NUL or a lone
    surrogate in a string or key, NaN, an infinity, a number past a double, or anything that JSON
    does not know. `field` begins the path it names.
    """
    struct = struct_pb2.Struct()
    fill_struct(struct, value, field=field, max_depth=max_depth)
    return struct


def fill_struct(
    struct: struct_pb2.Struct,
    value: Mapping[str, object],
    *,
    field: str = "value",
    max_depth: int = MAX_DEPTH,
) -> None:
    """Convert a mapping into an empty Struct that is part of a larger message.

    Refuses what `to_struct` refuses; what was filled in by then is of no use.
    """
    try:
        _fill_struct(struct, value, max_depth)
    except _Refused as refused:
        raise refused.error(field, max_depth) from None


def to_value(
    value: object, *, field: str = "value", max_depth: int = MAX_DEPTH
) -> struct_pb2.Value:
    """Convert any JSON value; refuses what `to_struct` refuses."""
    target = struct_pb2.Value()
    try:
        _fill_value(target, value, max_depth)
    except _Refused as refused:
        raise refused.error(field, max_depth) from None
    return target


def from_struct(struct: struct_pb2.Struct) -> dict[str, Json]:
    """Convert a Struct. Its depth is bounded by the decoder it came through, or by `to_struct`."""
    fields = struct.fields
    return {key: from_value(fields[key]) for key in fields}  # items() costs twice as much


def from_value(value: struct_pb2.Value) -> Json:
    """Convert a Value. One without a kind is null."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        return value.number_value
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [from_value(item) for item in value.list_value.values]
    if kind == "bool_value":
        return value.bool_value
    return None


def read_struct(
    struct: struct_pb2.Struct, *, field: str = "value", max_depth: int = MAX_DEPTH
) -> dict[str, Json]:
    """Convert a Struct that a stranger sent; refuses what `to_struct` would not have made."""
    try:
        return _read_struct(struct, max_depth)
    except _Refused as refused:
        raise refused.error(field, max_depth) from None


class _Refused(Exception):
    """A part that cannot be converted; the containers around it put their keys before its path."""

    def __init__(self, description: str, *, too_deep: bool = False) -> None:
        super().__init__(description)
        self.description = description
        self.too_deep = too_deep
        self.path: list[str] = []

    def error(self, field: str, max_depth: int) -> BrikkError:
        where = field + "".join(reversed(self.path))
        if not self.too_deep:
            return invalid_field(where, self.description)
        return InvalidArgument(
            Reason.PAYLOAD_TOO_LARGE,
            f"{field} {self.description}",
            metadata={"field": field, "limit": str(max_depth)},
            violations=[FieldViolation(field, self.description)],
        )


def _read_struct(struct: struct_pb2.Struct, levels: int) -> dict[str, Json]:
    if levels == 0:
        raise _Refused("is nested too deeply", too_deep=True)
    fields = struct.fields
    members: dict[str, Json] = {}
    for key in fields:
        if "\0" in key:
            raise _Refused("has a key with a NUL character")
        try:
            members[key] = _read_value(fields[key], levels - 1)
        except _Refused as refused:
            refused.path.append(f".{key}")
            raise
    return members


def _read_list(values: struct_pb2.ListValue, levels: int) -> list[Json]:
    if levels == 0:
        raise _Refused("is nested too deeply", too_deep=True)
    items: list[Json] = []
    for index, value in enumerate(values.values):
        try:
            items.append(_read_value(value, levels - 1))
        except _Refused as refused:
            refused.path.append(f"[{index}]")
            raise
    return items


def _read_value(value: struct_pb2.Value, levels: int) -> Json:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        if "\0" in text:
            raise _Refused("contains a NUL character")
        return text
    if kind == "number_value":
        number = value.number_value
        if not math.isfinite(number):
            raise _Refused("is not a finite number")
        return number
    if kind == "struct_value":
        return _read_struct(value.struct_value, levels)
    if kind == "list_value":
        return _read_list(value.list_value, levels)
    if kind == "bool_value":
        return value.bool_value
    return None


def _fill_struct(struct: struct_pb2.Struct, mapping: Mapping[str, object], levels: int) -> None:
    if levels == 0:
        raise _Refused("is nested too deeply", too_deep=True)
    fields = struct.fields
    for key, item in mapping.items():
        if not isinstance(key, str):
            raise _Refused(f"has a key that is a {type(key).__name__}, not a string")
        if "\0" in key:
            raise _Refused("has a key with a NUL character")
        try:
            _fill_value(fields[key], item, levels - 1)
        except _Refused as refused:
            refused.path.append(f".{key}")
            raise
        except UnicodeEncodeError:  # of the key; _fill_value translates its own
            raise _Refused("has a key that is not valid Unicode") from None


def _fill_list(target: struct_pb2.ListValue, items: Sequence[object], levels: int) -> None:
    if levels == 0:
        raise _Refused("is nested too deeply", too_deep=True)
    values = target.values
    for index, item in enumerate(items):
        try:
            _fill_value(values.add(), item, levels - 1)
        except _Refused as refused:
            refused.path.append(f"[{index}]")
            raise


def _fill_value(target: struct_pb2.Value, item: object, levels: int) -> None:
    if isinstance(item, str):
        if "\0" in item:
            raise _Refused("contains a NUL character")
        try:
            target.string_value = item
        except UnicodeEncodeError:
            raise _Refused("is not valid Unicode") from None
    elif isinstance(item, bool):
        target.bool_value = item
    elif isinstance(item, (int, float)):
        try:
            number = float(item)
        except OverflowError:
            raise _Refused("is too large for a number") from None
        if not math.isfinite(number):
            raise _Refused("is not a finite number")
        target.number_value = number
    elif item is None:
        target.null_value = struct_pb2.NULL_VALUE
    elif isinstance(item, (dict, Mapping)):  # a dict is told at once, a Mapping is looked up
        target.struct_value.SetInParent()  # an empty object is an object
        _fill_struct(target.struct_value, item, levels)
    elif isinstance(item, (list, tuple)):
        target.list_value.SetInParent()
        _fill_list(target.list_value, item, levels)
    else:
        raise _Refused(f"is a {type(item).__name__}, which JSON does not know")
