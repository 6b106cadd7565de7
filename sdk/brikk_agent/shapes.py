"""What a type hint means on the wire: its JSON Schema, and how a value of it is read."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import (
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from brikk_agent.errors import InvalidInput
from brikk_agent.structs import Json

Read = Callable[[Json, str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A type on the wire.

    `read` takes a value as a Struct holds it and its path, and returns what Python code expects;
    it raises InvalidInput, which names the path and never repeats the value.
    """

    schema: dict[str, Json]
    read: Read


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A named member of a record: a parameter, a dataclass field or a TypedDict key."""

    shape: Shape
    required: bool


def shape_of(hint: object, within: tuple[object, ...] = ()) -> Shape:
    """Derives the shape of a type hint.

    Known are str, int, float, bool, None, Any and object, Literal, unions, list, Sequence, dict and
    Mapping with string keys, dataclasses and TypedDicts. Raises TypeError for any other. `within`
    holds the records being derived, because a schema without references cannot be recursive.
    """
    if hint in _SCALARS:
        return _SCALARS[hint]
    if hint in (Any, object, inspect.Parameter.empty):
        return Shape(schema={}, read=lambda value, _: value)
    if hint in within:
        raise TypeError(f"{_name(hint)} contains itself; recursive types are not supported")
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is Literal:
        return _literal(arguments)
    if origin in (Union, types.UnionType):
        return _union([shape_of(member, within) for member in arguments])
    if origin in (list, Sequence):
        return _list(shape_of(arguments[0] if arguments else Any, within))
    if origin in (dict, Mapping):
        key, member = arguments or (str, Any)
        if key is not str:
            raise TypeError(f"the keys of {_name(hint)} must be strings, as JSON has no others")
        return _dict(shape_of(member, within))
    if isinstance(hint, type) and (is_dataclass(hint) or is_typeddict(hint)):
        return _record_type(hint, (*within, hint))
    raise TypeError(f"{_name(hint)} has no counterpart in JSON")


def record(members: Mapping[str, Field], *, closed: bool = False) -> Shape:
    """The shape of an object with these members; it reads into a dict.

    Other members are refused when it is `closed`, and ignored when not: what one agent adds to its
    output must not break those who read it.
    """

    def read(value: Json, path: str) -> object:
        if not isinstance(value, dict):
            raise InvalidInput(path, f"must be an object, not {_kind(value)}")
        if closed and (unknown := value.keys() - members):
            raise InvalidInput(_join(path, min(unknown)), "is not known here")
        found: dict[str, object] = {}
        for name, field in members.items():
            if name in value:
                found[name] = field.shape.read(value[name], _join(path, name))
            elif field.required:
                raise InvalidInput(_join(path, name), "is required")
        return found

    schema: dict[str, Json] = {
        "type": "object",
        "properties": {name: field.shape.schema for name, field in members.items()},
    }
    if closed:
        schema["additionalProperties"] = False
    if required := [name for name, field in members.items() if field.required]:
        schema["required"] = list(required)
    return Shape(schema=schema, read=read)


def _read_text(value: Json, path: str) -> object:
    if not isinstance(value, str):
        raise InvalidInput(path, f"must be a string, not {_kind(value)}")
    return value


def _read_flag(value: Json, path: str) -> object:
    if not isinstance(value, bool):
        raise InvalidInput(path, f"must be true or false, not {_kind(value)}")
    return value


def _read_number(value: Json, path: str) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(path, f"must be a number, not {_kind(value)}")
    return float(value)


def _read_whole_number(value: Json, path: str) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(path, f"must be a whole number, not {_kind(value)}")
    if not float(value).is_integer():
        raise InvalidInput(path, "must be a whole number, not a fraction")
    return int(value)


def _read_null(value: Json, path: str) -> object:
    if value is not None:
        raise InvalidInput(path, f"must be null, not {_kind(value)}")
    return None


_SCALARS: dict[object, Shape] = {
    str: Shape(schema={"type": "string"}, read=_read_text),
    bool: Shape(schema={"type": "boolean"}, read=_read_flag),
    int: Shape(schema={"type": "integer"}, read=_read_whole_number),
    float: Shape(schema={"type": "number"}, read=_read_number),
    None: Shape(schema={"type": "null"}, read=_read_null),
    type(None): Shape(schema={"type": "null"}, read=_read_null),
}


def _literal(choices: Sequence[str | int | bool | None]) -> Shape:
    # True == 1 in Python, but not in JSON: the kind is part of the key.
    known: dict[tuple[str, object], object] = {(_kind(each), each): each for each in choices}

    def read(value: Json, path: str) -> object:
        if isinstance(value, list | dict) or (_kind(value), value) not in known:
            raise InvalidInput(path, f"must be one of {', '.join(map(repr, choices))}")
        return known[_kind(value), value]

    return Shape(schema={"enum": list(choices)}, read=read)


def _union(members: Sequence[Shape]) -> Shape:
    def read(value: Json, path: str) -> object:
        problems = []
        for member in members:
            try:
                return member.read(value, path)
            except InvalidInput as error:
                problems.append(error)
        # The deepest problem belongs to the member that came closest.
        raise max(problems, key=lambda error: len(error.field))

    return Shape(schema={"anyOf": [member.schema for member in members]}, read=read)


def _list(item: Shape) -> Shape:
    def read(value: Json, path: str) -> object:
        if not isinstance(value, list):
            raise InvalidInput(path, f"must be a list, not {_kind(value)}")
        return [item.read(member, f"{path}[{index}]") for index, member in enumerate(value)]

    return Shape(schema={"type": "array", "items": item.schema}, read=read)


def _dict(member: Shape) -> Shape:
    def read(value: Json, path: str) -> object:
        if not isinstance(value, dict):
            raise InvalidInput(path, f"must be an object, not {_kind(value)}")
        return {name: member.read(item, _join(path, name)) for name, item in value.items()}

    return Shape(schema={"type": "object", "additionalProperties": member.schema}, read=read)


def _record_type(hint: type, within: tuple[object, ...]) -> Shape:
    hints = get_type_hints(hint)
    if not is_dataclass(hint):
        required = _required_keys(hint)
        return record(
            {
                name: Field(shape=shape_of(member, within), required=name in required)
                for name, member in hints.items()
            }
        )
    shape = record(
        {
            field.name: Field(
                shape=shape_of(hints[field.name], within),
                required=field.default is MISSING and field.default_factory is MISSING,
            )
            for field in fields(hint)
            if field.init
        }
    )

    def read(value: Json, path: str) -> object:
        arguments = shape.read(value, path)
        assert isinstance(arguments, dict)
        try:
            return hint(**arguments)
        except ValueError as error:  # what its __post_init__ has to say
            raise InvalidInput(path, str(error)) from error

    return Shape(schema=shape.schema, read=read)


def _required_keys(hint: type) -> set[str]:
    # __required_keys__ alone knows `total`, but not the marks in annotations that are strings.
    marks = {
        name: get_origin(member)
        for name, member in get_type_hints(hint, include_extras=True).items()
    }
    required = {name for name in hint.__required_keys__ if marks[name] is not NotRequired}  # type: ignore[attr-defined]
    return required | {name for name, mark in marks.items() if mark is Required}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def _name(hint: object) -> str:
    return hint.__qualname__ if isinstance(hint, type) else str(hint)
