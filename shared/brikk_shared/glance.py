"""Whether a value matches a plain JSON Schema, told at a glance: what `jsonschema` does slowly.

Most schemas that people and signatures give are plain: types, members, items, choices. A glance
says yes or leaves it open; what is wrong with a value it never tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

Glance: TypeAlias = Callable[[object], bool]

_MOST: Final = 50
"""Schemas in a plain schema: each may be put to each item of a long list."""
_NOTES: Final = frozenset(
    {"$comment", "$schema", "default", "deprecated", "description", "examples", "title"}
)
_OBJECT: Final = frozenset({"type", "properties", "required", "additionalProperties"})
_LIST: Final = frozenset({"type", "items"})


class _NotPlain(Exception):
    """The schema says more than a glance sees."""


def glance(schema: object) -> Glance | None:
    """Return what accepts values by a valid schema; None when that is not a plain one.

    A value that it does not accept may match all the same.
    """
    try:
        return _glance(schema, [_MOST])
    except _NotPlain:
        return None


def _glance(schema: object, left: list[int]) -> Glance:
    left[0] -= 1
    if left[0] < 0:
        raise _NotPlain
    if schema is True:
        return _anything
    if not isinstance(schema, Mapping):
        raise _NotPlain
    said = schema.keys() - _NOTES
    if not said:
        return _anything
    kind = schema.get("type")
    if kind == "object" and said <= _OBJECT:
        return _object(schema, left)
    if kind == "array" and said <= _LIST:
        return _list(_glance(schema.get("items", True), left))
    if said == {"type"} and isinstance(kind, str):
        return _SCALARS[kind]
    if said == {"anyOf"}:
        return _any([_glance(each, left) for each in schema["anyOf"]])
    if said <= {"enum", "type"} and kind in (None, "string"):
        choices = schema.get("enum", ())
        if all(isinstance(each, str) for each in choices):
            return _choice(frozenset(choices))
    raise _NotPlain


def _object(schema: Mapping[str, object], left: list[int]) -> Glance:
    properties, required = schema.get("properties", {}), schema.get("required", ())
    assert isinstance(properties, Mapping)
    assert isinstance(required, Sequence)
    members = {name: _glance(each, left) for name, each in properties.items()}
    wanted = frozenset(required)
    others = schema.get("additionalProperties", True)
    other = None if others is False else _glance(others, left)

    def accepts(value: object) -> bool:
        if not isinstance(value, Mapping) or not wanted <= value.keys():
            return False
        for name, item in value.items():
            member = members.get(name, other)
            if member is None or not member(item):
                return False
        return True

    return accepts


def _list(member: Glance) -> Glance:
    def accepts(value: object) -> bool:
        return isinstance(value, list | tuple) and all(member(item) for item in value)

    return accepts


def _any(members: Sequence[Glance]) -> Glance:
    return lambda value: any(member(value) for member in members)


def _choice(choices: frozenset[str]) -> Glance:
    return lambda value: isinstance(value, str) and value in choices


def _anything(_: object) -> bool:
    return True


def _number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _whole_number(value: object) -> bool:
    return _number(value) and value == int(value)  # type: ignore[call-overload]  # it is a number


_SCALARS: Final[Mapping[str, Glance]] = {
    "array": lambda value: isinstance(value, list | tuple),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _whole_number,
    "null": lambda value: value is None,
    "number": _number,
    "object": lambda value: isinstance(value, Mapping),
    "string": lambda value: isinstance(value, str),
}
