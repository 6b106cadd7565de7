"""JSON Schemas of inputs and outputs: what is accepted, what is told, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from brikk_shared.errors import InvalidArgument, Reason
from brikk_shared.json_schema import SchemaInvalid, compile_schema
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.schema import check_input

TICKETS: dict[str, Json] = {
    "type": "object",
    "required": ["tickets"],
    "properties": {
        "tickets": {
            "type": "array",
            "minItems": 1.0,
            "uniqueItems": True,
            "items": {"$ref": "#/$defs/ticket"},
        }
    },
    "additionalProperties": False,
    "$defs": {
        "ticket": {
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "string", "pattern": "^T-[0-9]+$"},
                "priority": {"type": "integer", "minimum": 1.0, "maximum": 5.0},
            },
        }
    },
}


def violations(schema: Mapping[str, Json], value: Json) -> list[tuple[str, str]]:
    found = compile_schema(schema).violations(value, "input")
    return [(each.field, each.description) for each in found]


def test_what_matches() -> None:
    assert violations(TICKETS, {"tickets": [{"id": "T-1", "priority": 2.0}]}) == []


@pytest.mark.parametrize(
    ("value", "field", "description"),
    [
        ({}, "input", "'tickets' is a required property"),
        ({"tickets": [{"id": 1.0}]}, "input.tickets[0].id", "1 is not of type 'string'"),
        ({"tickets": [{"id": "x"}]}, "input.tickets[0].id", "'x' does not match '^T-[0-9]+$'"),
        (
            {"tickets": [{"id": "T-1", "priority": 9.0}]},
            "input.tickets[0].priority",
            "9 is greater than the maximum of 5",
        ),
        (
            {"tickets": [{"id": "T-1"}, {"id": "T-1"}]},
            "input.tickets",
            "[the object, the object] has equal items",
        ),
        ({"tickets": {"a": 1.0}}, "input.tickets", "the object is not of type 'array'"),
        (
            {"tickets": [{"id": "T-1"}], "x": 1.0},
            "input",
            "Additional properties are not allowed ('x' was unexpected)",
        ),
    ],
)
def test_what_does_not_match(value: Json, field: str, description: str) -> None:
    assert (field, description) in violations(TICKETS, value)


def test_at_most_twenty_places_are_told() -> None:
    assert len(violations(TICKETS, {"tickets": [{}] * 100})) == 20


def test_long_values_are_told_in_a_few_words() -> None:
    schema: dict[str, Json] = {"type": "object", "additionalProperties": {"type": "null"}}
    long: dict[str, Json] = {"text": "x" * 100_000, "list": [1.0] * 1000, "pair": [1.0, "a"]}
    assert {text for _, text in violations(schema, long)} == {
        "'" + "x" * 60 + "…' is not of type 'null'",
        "a list of 1000 items is not of type 'null'",
        "[1, 'a'] is not of type 'null'",
    }


@pytest.mark.parametrize(
    ("schema", "path", "problem"),
    [
        ({"type": "objekt"}, ("type",), "'objekt' is not valid"),
        ({"properties": {"a": 1.0}}, ("properties", "a"), "1 is not of type"),
        ({"$ref": "https://example.com/x"}, ("$ref",), "leads out of the schema"),
        ({"items": {"$ref": "#/$defs/x"}}, ("items", "$ref"), "there is no #/$defs/x"),
        ({"anyOf": [{"pattern": "(?=x)"}]}, ("anyOf", 0, "pattern"), "is not accepted by RE2"),
        ({"$defs": {"a": {"$id": "x"}}}, ("$defs", "a", "$id"), "is not supported"),
        ({"patternProperties": {}}, ("patternProperties",), "is not supported: use `properties`"),
        ({"unevaluatedProperties": False}, ("unevaluatedProperties",), "use `additional"),
        ({"$dynamicRef": "#x"}, ("$dynamicRef",), "use `$ref`"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, ("$schema",), "2020-12"),
    ],
)
def test_schemas_that_are_refused(
    schema: Mapping[str, Json], path: tuple[str | int, ...], problem: str
) -> None:
    with pytest.raises(SchemaInvalid) as invalid:
        compile_schema(schema)
    assert [found for found, _ in invalid.value.problems] == [path]
    assert problem in invalid.value.problems[0][1]


def test_words_that_are_data_are_not_judged_as_schemas() -> None:
    compile_schema({"const": {"$ref": "https://x"}, "properties": {"$id": True, "pattern": {}}})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "#"}, "x"),
        (
            {
                "$ref": "#/$defs/a0",
                "$defs": {
                    **{f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(30)},
                    "a30": {"type": "string"},
                },
            },
            "x",
        ),
        ({"items": {"enum": [str(n) for n in range(3000)]}}, ["2999"] * 100_000),
        ({"items": {"items": {"type": "null"}}}, [[None] * 1000] * 1000),
    ],
)
def test_what_would_take_for_ever_is_given_up(schema: Mapping[str, Json], value: Json) -> None:
    assert ("input", "takes too long to check against its schema") in violations(schema, value)


def test_patterns_take_linear_time() -> None:
    assert violations({"pattern": "^(a+)+$"}, "a" * 10_000 + "!") != []


def test_recursive_schemas_are_accepted() -> None:
    tree: dict[str, Json] = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["children"],
    }
    assert violations(tree, {"children": [{"children": []}]}) == []
    assert violations(tree, {"children": [{}]}) == [
        ("input.children[0]", "'children' is a required property")
    ]


def test_an_input_that_is_refused_names_the_workflow_and_every_place() -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_input(compile_schema(TICKETS), {"tickets": [{}, {}]}, "triage")
    assert refused.value.reason is Reason.INVALID_INPUT
    assert refused.value.metadata == {"workflow": "workflows/triage"}
    assert len(refused.value.violations) == 3
    assert refused.value.message.endswith("(and 2 more)")
