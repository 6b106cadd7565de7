"""Definitions as messages, member by member: the contract and YAML have the same names.

What is unset in a message is absent from the members.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import duration_pb2, struct_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from brikk.workflow.v1 import workflow_pb2
from brikk_shared.structs import fill_struct, from_struct, from_value, to_value

_NAMES = {"workflow_id": "name", "step_id": "id"}
_FIELDS = {name: field for field, name in _NAMES.items()}
_COUNTS = {"any": 1}


def to_plain(message: Message) -> dict[str, object]:
    """Returns the members of a message that are set."""
    return {
        _NAMES.get(field.name, field.name): _plain(field, value)
        for field, value in message.ListFields()
    }


def fill(message: Message, members: Mapping[str, object]) -> None:
    """Sets the members of a message."""
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in members.items():
        _set(message, fields[name if name in fields else _FIELDS[name]], value)


def _plain(field: Any, value: Any) -> object:
    if field.enum_type is not None:
        return _word(field.enum_type, value)
    if field.message_type is None:
        return list(value) if field.is_repeated else value
    if field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [to_plain(item) for item in value]
    match value:
        case struct_pb2.Struct():
            return from_struct(value)
        case struct_pb2.Value():
            return from_value(value)
        case duration_pb2.Duration():
            return value.ToTimedelta()
        case workflow_pb2.Dependencies():
            return list(value.step_ids)
        case _:
            return to_plain(value)


def _set(message: Message, field: Any, value: Any) -> None:
    part = getattr(message, field.name)
    if field.enum_type is not None:
        setattr(message, field.name, _number(field.enum_type, value))
    elif field.message_type is None:
        _set_scalar(message, field, value)
    elif field.message_type.GetOptions().map_entry:
        part.update(value)
    elif field.is_repeated:
        for item in value:
            fill(part.add(), item)
    else:
        part.SetInParent()
        _set_message(part, value)


def _set_scalar(message: Message, field: Any, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).extend(value)
    elif field.type == FieldDescriptor.TYPE_STRING:
        setattr(message, field.name, str(value))  # also the number of a `tolerate`
    else:
        setattr(message, field.name, _COUNTS.get(value, value))


def _set_message(part: Any, value: Any) -> None:
    match part:
        case struct_pb2.Struct():
            fill_struct(part, value)
        case struct_pb2.Value():
            part.CopyFrom(to_value(value))
        case duration_pb2.Duration():
            part.FromTimedelta(value)
        case workflow_pb2.Dependencies():
            part.step_ids.extend(value)
        case _:
            fill(part, value)


def _word(words: Any, number: int) -> str:
    """Returns the word for a number; for one of a newer contract, what is then refused."""
    value = words.values_by_number.get(number)
    return value.name.removeprefix(_prefix(words)).lower() if value else f"word {number}"


def _number(words: Any, word: str) -> int:
    number: int = words.values_by_name[_prefix(words) + word.upper()].number
    return number


def _prefix(words: Any) -> str:
    unspecified: str = words.values_by_number[0].name
    return unspecified.removesuffix("UNSPECIFIED")
