"""A glance at a value: it accepts what plain schemas accept, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from brikk_shared.glance import glance

_NAMES = st.sampled_from("abc")
_SCALARS = st.none() | st.booleans() | st.sampled_from([0.0, 1.0, 1.5, -2.0]) | _NAMES
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)


def _objects(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(_NAMES, inner, max_size=3),
            "required": st.lists(_NAMES, unique=True, max_size=2),
            "additionalProperties": inner | st.booleans(),
            "description": st.just("x"),
        },
    )


_TYPES = ["array", "boolean", "integer", "null", "number", "object", "string"]
SCHEMAS = st.recursive(
    st.just(True)
    | st.fixed_dictionaries({}, optional={"type": st.sampled_from(_TYPES), "title": st.just("x")})
    | st.fixed_dictionaries({"enum": st.lists(_SCALARS, min_size=1, max_size=3)}),
    lambda inner: (
        _objects(inner)
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": st.just(2)})
    ),
    max_leaves=8,
)


@given(schema=SCHEMAS, value=VALUES)
def test_what_a_glance_tells_is_what_the_schema_says(schema: object, value: object) -> None:
    accepts = glance(schema)
    if accepts is not None:
        assert accepts(value) == Draft202012Validator(schema).is_valid(value)  # type: ignore[arg-type] # valid


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "string", "minLength": 1},
        {"type": ["string", "null"]},
        {"$ref": "#"},
        {"enum": [1.0]},
        {"properties": {"a": True}},
        {"type": "object", "properties": {f"p{number}": True for number in range(50)}},
    ],
)
def test_what_is_not_plain_is_left_to_others(schema: object) -> None:
    assert glance(schema) is None
