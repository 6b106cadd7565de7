from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from brikk_agent.structs import Json, Unrepresentable, from_struct, to_struct

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_what_goes_in_comes_out_as_json_format_says(given_: dict[str, Json]) -> None:
    struct = to_struct(given_, name="output")
    assert from_struct(struct) == given_
    reference = Struct()
    json_format.ParseDict(given_, reference)
    assert struct == reference


def test_dataclasses_tuples_and_whole_numbers_are_carried() -> None:
    @dataclass
    class Point:
        x: int
        tags: tuple[str, ...]

    struct = to_struct({"point": Point(x=2**53, tags=("a", "b"))}, name="output")
    assert from_struct(struct) == {"point": {"x": float(2**53), "tags": ["a", "b"]}}
    assert from_struct(to_struct(Point(x=1, tags=()), name="output")) == {"x": 1.0, "tags": []}


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ({"a": [{"b": "x\0"}]}, "output.a[0].b: contains a NUL character"),
        ({"a": "\ud800"}, "output.a: contains a lone surrogate, which UTF-8 cannot encode"),
        ({"a": {"\ud800": 1}}, "output.a: contains a lone surrogate, which UTF-8 cannot encode"),
        ({"a": math.nan}, "output.a: is nan, which JSON does not have"),
        ({"a": -math.inf}, "output.a: is -inf, which JSON does not have"),
        ({"a": 2**53 + 1}, "output.a: is a whole number beyond 2^53; return it as a string"),
        ({"a": {1: 2}}, "output.a: has a key that is a int, not a string"),
        ({"a": {1, 2}}, "output.a: must be a dict or a dataclass, not a set"),
        (["a"], "output: must be a dict or a dataclass, not a list"),
        (None, "output: must be a dict or a dataclass, not null"),
        ({"a": "x" * (1 << 20)}, "output: has 1048591 bytes; at most 1048576 are allowed"),
    ],
)
def test_what_a_struct_cannot_carry_is_refused_by_path(output: object, problem: str) -> None:
    with pytest.raises(Unrepresentable) as caught:
        to_struct(output, name="output")
    assert str(caught.value) == problem


@pytest.mark.parametrize("wrap", [lambda inner: {"a": inner}, lambda inner: [inner]])
def test_nesting_is_bounded(wrap: object) -> None:
    assert callable(wrap)

    def nested(levels: int) -> dict[str, object]:
        value: object = 1
        for _ in range(levels - 1):
            value = wrap(value)
        return {"root": value}

    Struct.FromString(to_struct(nested(32), name="output").SerializeToString())
    with pytest.raises(Unrepresentable, match="lies deeper than 32 levels"):
        to_struct(nested(33), name="output")
