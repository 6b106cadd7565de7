from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, Required, TypedDict

import pytest
from jsonschema import Draft202012Validator

from brikk_agent.errors import InvalidInput
from brikk_agent.shapes import shape_of
from brikk_agent.structs import Json


@dataclass
class Line:
    sku: str
    amount: int = 1
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.amount < 1:
            raise ValueError("amount must be positive")


class Order(TypedDict):
    id: str
    lines: list[Line]
    gift: NotRequired[bool]


class Partial(TypedDict, total=False):
    a: str
    b: Required[str]


@dataclass
class Loop:
    inner: Loop | None = None


READABLE: list[tuple[object, Json, object]] = [
    (str, "a", "a"),
    (bool, False, False),
    (int, 3.0, 3),
    (int, 3, 3),
    (float, 3.0, 3.0),
    (Any, {"a": [1.0]}, {"a": [1.0]}),
    (object, None, None),
    (None, None, None),
    (str | None, None, None),
    (int | str, "a", "a"),
    (list[int], [1.0, 2.0], [1, 2]),
    (list, ["a", 1.0], ["a", 1.0]),
    (Sequence[str], ["a"], ["a"]),
    (dict, {"a": 1.0}, {"a": 1.0}),
    (dict[str, int], {"a": 1.0}, {"a": 1}),
    (Mapping[str, bool], {"a": True}, {"a": True}),
    (Literal["a", 1, True], 1.0, 1),
    (Line, {"sku": "x", "amount": 2.0}, Line("x", 2)),
    (Line, {"sku": "x", "added since": "red"}, Line("x")),
    (Order, {"id": "1", "lines": [{"sku": "x"}]}, {"id": "1", "lines": [Line("x")]}),
]


@pytest.mark.parametrize(("hint", "value", "expected"), READABLE)
def test_values_are_read_as_the_types_say(hint: object, value: Json, expected: object) -> None:
    shape = shape_of(hint)
    found = shape.read(value, "f")
    assert found == expected
    assert type(found) is type(expected)
    Draft202012Validator.check_schema(shape.schema)
    Draft202012Validator(shape.schema).validate(value)


UNREADABLE: list[tuple[object, Json, str]] = [
    (str, 1.0, "f: must be a string, not a number"),
    (str, None, "f: must be a string, not null"),
    (bool, 1.0, "f: must be true or false, not a number"),
    (int, 1.5, "f: must be a whole number, not a fraction"),
    (int, float("inf"), "f: must be a whole number, not a fraction"),
    (int, True, "f: must be a whole number, not a boolean"),
    (float, "1", "f: must be a number, not a string"),
    (float, False, "f: must be a number, not a boolean"),
    (str | None, [], "f: must be a string, not a list"),
    (list[int], {}, "f: must be a list, not an object"),
    (list[int], [1.0, "2"], "f[1]: must be a whole number, not a string"),
    (dict[str, int], {"a": None}, "f.a: must be a whole number, not null"),
    (Literal["a", "b"], "c", "f: must be one of 'a', 'b'"),
    (Literal[1], True, "f: must be one of 1"),
    (Literal["a"], ["a"], "f: must be one of 'a'"),
    (Line, "x", "f: must be an object, not a string"),
    (Line, {}, "f.sku: is required"),
    (Line, {"sku": "x", "amount": 0.0}, "f: amount must be positive"),
    (Partial, {}, "f.b: is required"),
    (Order, {"id": "1", "lines": [{"sku": 1.0}]}, "f.lines[0].sku: must be a string, not a number"),
    (Line | None, {"sku": 1.0}, "f.sku: must be a string, not a number"),
]


@pytest.mark.parametrize(("hint", "value", "problem"), UNREADABLE)
def test_wrong_values_are_refused_by_path(hint: object, value: Json, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        shape_of(hint).read(value, "f")
    assert str(caught.value) == problem


def test_a_secret_in_a_wrong_field_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        shape_of(int).read("4111 1111 1111 1111", "card")
    assert "4111" not in str(caught.value)


@pytest.mark.parametrize(
    ("hint", "problem"),
    [
        (set[str], "set"),
        (bytes, "bytes has no counterpart in JSON"),
        (dict[int, str], "keys of dict"),
        (Loop, "Loop contains itself"),
    ],
)
def test_types_that_json_lacks_are_refused(hint: object, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        shape_of(hint)


def test_the_schema_of_a_record_says_what_is_required() -> None:
    assert shape_of(Line).schema == {
        "type": "object",
        "properties": {
            "sku": {"type": "string"},
            "amount": {"type": "integer"},
            "notes": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["sku"],
    }
