"""JSON survives a Struct, and what no store could keep is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from brikk_shared.errors import BrikkError, Reason
from brikk_shared.structs import (
    MAX_DEPTH,
    from_struct,
    from_value,
    read_struct,
    to_struct,
    to_value,
)

_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(_text, _json, max_size=5))
def test_it_agrees_with_json_format(value: dict[str, Any]) -> None:
    struct = to_struct(value)
    expected = struct_pb2.Struct()
    json_format.ParseDict(value, expected)
    assert struct == expected
    assert from_struct(struct) == value
    assert read_struct(struct) == value


@given(_json)
def test_values_survive(value: object) -> None:
    assert from_value(to_value(value)) == value


def test_whole_numbers_come_back_as_float() -> None:
    back = from_struct(to_struct({"n": 3}))
    assert back == {"n": 3.0}
    assert type(back["n"]) is float


def test_empty_containers_keep_their_kind() -> None:
    assert from_struct(to_struct({"o": {}, "l": [], "t": ()})) == {"o": {}, "l": [], "t": []}


def test_a_value_without_a_kind_is_null() -> None:
    assert from_value(struct_pb2.Value()) is None


@pytest.mark.parametrize(
    ("value", "field", "description"),
    [
        ({"a": [1, {"b": float("nan")}]}, "input.a[1].b", "is not a finite number"),
        ({"a": float("-inf")}, "input.a", "is not a finite number"),
        ({"a": 10**400}, "input.a", "is too large for a number"),
        ({"a": "x\0"}, "input.a", "contains a NUL character"),
        ({"a": {"k\0": 1}}, "input.a", "has a key with a NUL character"),
        ({"a": ["\ud800"]}, "input.a[0]", "is not valid Unicode"),
        ({"a": {"\ud800": 1}}, "input.a", "has a key that is not valid Unicode"),
        ({"a": {1: 1}}, "input.a", "has a key that is a int, not a string"),
        ({"a": object()}, "input.a", "is a object, which JSON does not know"),
    ],
)
def test_what_no_store_keeps_is_refused(
    value: dict[str, object], field: str, description: str
) -> None:
    with pytest.raises(BrikkError) as refused:
        to_struct(value, field="input")
    assert refused.value.reason is Reason.INVALID_FIELD
    assert (refused.value.violations[0].field, refused.value.violations[0].description) == (
        field,
        description,
    )


def nested(levels: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def of_a_stranger(**fields: struct_pb2.Value) -> struct_pb2.Struct:
    return struct_pb2.Struct(fields=fields)


def in_a_list(value: struct_pb2.Value) -> struct_pb2.Value:
    return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[struct_pb2.Value(), value]))


@pytest.mark.parametrize(
    ("struct", "field", "description"),
    [
        (
            of_a_stranger(a=in_a_list(struct_pb2.Value(number_value=float("nan")))),
            "output.a[1]",
            "is not a finite number",
        ),
        (
            of_a_stranger(a=struct_pb2.Value(string_value="x\0")),
            "output.a",
            "contains a NUL character",
        ),
        (
            of_a_stranger(**{"k\0": struct_pb2.Value()}),
            "output",
            "has a key with a NUL character",
        ),
    ],
)
def test_what_no_store_keeps_is_refused_from_strangers(
    struct: struct_pb2.Struct, field: str, description: str
) -> None:
    with pytest.raises(BrikkError) as refused:
        read_struct(struct, field="output")
    assert refused.value.reason is Reason.INVALID_FIELD
    assert refused.value.violations[0].field == field
    assert refused.value.violations[0].description == description


def test_depth_is_bounded_from_strangers() -> None:
    assert read_struct(to_struct(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(BrikkError) as refused:
        read_struct(to_struct(nested(MAX_DEPTH + 1), max_depth=MAX_DEPTH + 1))
    assert refused.value.reason is Reason.PAYLOAD_TOO_LARGE
    with pytest.raises(BrikkError):
        read_struct(to_struct({"a": [[1]]}), max_depth=2)


def test_depth_is_bounded() -> None:
    deepest = to_struct(nested(MAX_DEPTH))
    assert struct_pb2.Struct.FromString(deepest.SerializeToString()) == deepest
    with pytest.raises(BrikkError) as refused:
        to_struct(nested(MAX_DEPTH + 1), field="input")
    assert refused.value.reason is Reason.PAYLOAD_TOO_LARGE
    assert refused.value.metadata == {"field": "input", "limit": "32"}
    with pytest.raises(BrikkError):
        to_value([[1]], max_depth=1)
