"""Checks a request against its contract, so that the contract is the validation.

The rules are `google.api.field_behavior` REQUIRED, `brikk.options.v1.limits`, and what every value
keeps: known enum values, no NUL in text, finite numbers, times and durations that exist. They are
read once per message type into a plan, which looks at the fields that are set and at no others.
Fields marked OUTPUT_ONLY are not looked at: servicers ignore them (AIP-203).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from brikk.options.v1 import options_pb2
from brikk_shared import checks
from brikk_shared.checks import Check, TooMany, Violations
from brikk_shared.errors import FieldViolation, InvalidArgument, Reason
from brikk_shared.structs import MAX_DEPTH

MAX_LENGTH = 65_536
"""Longest string, in characters, and longest bytes value where the contract sets no limit."""

_UNLIMITED = 2**31


def validate(message: Message) -> None:
    """InvalidArgument with INVALID_FIELD and all violations, fifty at most, unless it is valid."""
    violations = Violations()
    with suppress(TooMany):
        _check(message, "", violations)
    if violations.found:
        raise _invalid(violations.found)


def _invalid(found: list[FieldViolation]) -> InvalidArgument:
    first = found[0]
    others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return InvalidArgument(
        Reason.INVALID_FIELD,
        f"{first.field} {first.description}{others}",
        metadata={"field": first.field},
        violations=found,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rule:
    """What is asked of one field."""

    name: str
    required: bool
    has_presence: bool
    """Whether it can be set to its default; other fields are not set when they are that."""
    check: Check | None


def _check(message: Message, prefix: str, violations: Violations) -> None:
    for rule in _rules_of(message.DESCRIPTOR):
        name = rule.name
        value = getattr(message, name)
        if not (message.HasField(name) if rule.has_presence else value):
            if rule.required:
                violations.add(prefix, name, "is required")
        elif rule.check is not None:
            rule.check(value, prefix, name, violations)


def _nested(value: Message, prefix: str, name: str, violations: Violations) -> None:
    _check(value, f"{prefix}{name}.", violations)


@cache
def _rules_of(descriptor: Descriptor) -> tuple[_Rule, ...]:
    rules = []
    for field in descriptor.fields:
        options = field.GetOptions()
        behaviors = options.Extensions[field_behavior_pb2.field_behavior]
        if field_behavior_pb2.OUTPUT_ONLY in behaviors:
            continue
        limits = options.Extensions[options_pb2.limits]
        required = field_behavior_pb2.REQUIRED in behaviors or limits.min_items > 0
        check = None if limits.judged_by_servicer else _field_check(field, limits)
        if required or check is not None:
            rules.append(
                _Rule(
                    name=field.name,
                    required=required,
                    has_presence=field.has_presence,
                    check=check,
                )
            )
    return tuple(rules)


def _field_check(field: FieldDescriptor, limits: options_pb2.Limits) -> Check | None:
    if not field.is_repeated:
        return _value_check(field, limits)
    most = limits.max_items if limits.HasField("max_items") else _UNLIMITED
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        return checks.entries(most, _value_check(key, limits), _value_check(value, limits))
    return checks.repeated(most, limits.min_items, _value_check(field, limits))


def _value_check(field: FieldDescriptor, limits: options_pb2.Limits) -> Check | None:
    """The check of one value, be it the field's, an item's or a map entry's."""
    if field.type == FieldDescriptor.TYPE_STRING:
        longest = limits.max_length if limits.HasField("max_length") else MAX_LENGTH
        return checks.text(longest, limits.pattern)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return checks.content(limits.max_bytes if limits.HasField("max_bytes") else MAX_LENGTH)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return None
    if field.enum_type is not None:
        return checks.enum(frozenset(field.enum_type.values_by_number))
    if field.message_type is None:
        return checks.number(*_bounds(limits))
    check = _message_check(field.message_type, limits)
    return checks.sized(limits.max_bytes, check) if limits.HasField("max_bytes") else check


def _message_check(descriptor: Descriptor, limits: options_pb2.Limits) -> Check:
    depth = limits.max_depth if limits.HasField("max_depth") else MAX_DEPTH
    known: dict[str, Callable[[], Check]] = {
        "google.protobuf.Struct": partial(checks.struct, depth),
        "google.protobuf.ListValue": partial(checks.json_list, depth),
        "google.protobuf.Value": partial(checks.json_value, depth),
        "google.protobuf.Duration": partial(checks.duration, *_bounds(limits)),
        "google.protobuf.Timestamp": lambda: checks.timestamp,
    }
    make = known.get(descriptor.full_name)
    return _nested if make is None else make()


def _bounds(limits: options_pb2.Limits) -> tuple[float, float]:
    return (
        limits.minimum if limits.HasField("minimum") else -math.inf,
        limits.maximum if limits.HasField("maximum") else math.inf,
    )
