"""The JSON form in which definitions are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import Any, TypeAlias, get_args, get_type_hints

from brikk_workflow.domain.definition import (
    Budget,
    RetryPolicy,
    Step,
    StepTimeout,
    WorkflowDefinition,
)
from brikk_workflow.domain.kinds import KINDS, CallStep, Kind, word_of
from brikk_workflow.domain.payload import Json

DefinitionJson: TypeAlias = Mapping[str, Any]
"""The stored form: an object for each part, by the names of its members, durations in microseconds.

What came later than the first definitions is left out at its default, and a call lies flat in its
step: so definitions stored before there was more stay equal, and can still be read.
"""

_FROM_THE_START: Mapping[type, frozenset[str]] = {
    WorkflowDefinition: frozenset({"description", "input_schema", "timeout", "output"}),
    Step: frozenset({"after", "when", "retry", "timeout"}),
    CallStep: frozenset({"input"}),
    RetryPolicy: frozenset(field.name for field in fields(RetryPolicy)),
    StepTimeout: frozenset({"schedule_to_start", "start_to_close", "schedule_to_close"}),
    Budget: frozenset(field.name for field in fields(Budget)),
}


def definition_to_json(definition: WorkflowDefinition) -> DefinitionJson:
    """Return the stored form, which `json.dumps` takes as it is."""
    return _members(definition)


def definition_from_json(stored: DefinitionJson) -> WorkflowDefinition:
    """Return the definition that `definition_to_json` was given; it is not checked again."""
    definition: WorkflowDefinition = _decoded(WorkflowDefinition, stored)
    return definition


def _members(part: Any) -> dict[str, Json]:
    written: dict[str, Json] = {}
    always = _FROM_THE_START.get(type(part), ())
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name == "kind":
            written |= _kind_members(value)
        elif field.name in always or value != _default(field):
            written[field.name] = _encoded(value)
    return written


def _kind_members(kind: Kind) -> Mapping[str, Json]:
    members = _members(kind)
    if isinstance(kind, CallStep):
        return members
    return {word_of(kind): members}


def _encoded(value: Any) -> Json:
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return [_encoded(item) for item in value]
    if is_dataclass(value):
        return _members(value)
    plain: Json = value
    return plain


def _default(field: Field[Any]) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _decoded(hint: Any, stored: Any) -> Any:
    arguments = get_args(hint)
    if type(None) in arguments:
        return None if stored is None else _decoded(arguments[0], stored)
    if hint is timedelta:
        return timedelta(microseconds=stored)
    if arguments[1:] == (...,):
        return tuple(_decoded(arguments[0], item) for item in stored)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(stored)
    if isinstance(hint, type) and is_dataclass(hint):
        parts = {
            name: _decoded(each, stored[name])
            for name, each in _hints(hint).items()
            if name in stored
        }
        if hint is Step:
            parts["kind"] = _kind(stored)
        return hint(**parts)
    return stored


def _kind(stored: Mapping[str, Any]) -> Kind:
    for word in KINDS.keys() & stored.keys():
        kind: Kind = _decoded(KINDS[word], stored[word])
        return kind
    call: CallStep = _decoded(CallStep, stored)
    return call


@cache
def _hints(part: Any) -> Mapping[str, Any]:
    # What is `Json` is stored as it is, and `Step` is only there for type checkers among the kinds.
    return get_type_hints(part, localns={"Json": object, "Step": Step})
