"""Messages without their secrets: Python's protobuf does not honour `debug_redact` by itself."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

_M = TypeVar("_M", bound=Message)


def redacted(message: _M) -> _M:
    """The message without the fields marked `debug_redact`: itself when its type has none."""
    if not _holds_secrets(message.DESCRIPTOR):
        return message
    copy = type(message)()
    copy.CopyFrom(message)
    _clear(copy)
    return copy


def _clear(message: Message) -> None:
    for field, value in message.ListFields():
        if field.GetOptions().debug_redact:
            message.ClearField(field.name)
        elif field.message_type is None or not _holds_secrets(field.message_type):
            continue
        elif field.message_type.GetOptions().map_entry:
            for item in value.values():
                _clear(item)
        elif field.is_repeated:
            for item in value:
                _clear(item)
        else:
            _clear(value)


@lru_cache(maxsize=1024)
def _holds_secrets(descriptor: Descriptor) -> bool:
    """Whether a message of this type may hold such a field, at any depth."""
    seen: set[str] = set()
    pending = [descriptor]
    while pending:
        current = pending.pop()
        if current.full_name in seen:
            continue
        seen.add(current.full_name)
        for field in current.fields:
            if _is_secret(field):
                return True
            if field.message_type is not None:
                pending.append(field.message_type)
    return False


def _is_secret(field: FieldDescriptor) -> bool:
    return bool(field.GetOptions().debug_redact)
