"""Which events a webhook asked for: by type, by channel, and by a condition over the event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache

from brikk_shared.cel.expression import (
    Expression,
    ExpressionFailed,
    ExpressionInvalid,
    Vocabulary,
    parse,
)
from brikk_shared.cel.scope import walk
from brikk_shared.cel.values import Json
from brikk_shared.path import Path
from brikk_webhooks.domain.cloudevent import CloudEvent

# An organisation may have 500 conditions, and each of its events is put to all of them.
_VOCABULARY = Vocabulary(variables=("event",), max_values=500, max_text=1 << 15)
_CONDITION = ("BOOL", "DYN")


class FilterFailed(Exception):
    """A condition has no value for an event, which therefore does not meet it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventScope:
    """What a condition reads: the one variable `event`."""

    event: Mapping[str, Json]

    def variable(self, _name: str) -> Json:
        """Return the event."""
        return self.event

    def look_up(self, path: Path) -> Json:
        """Return what stands in the event. Raises NoSuchValue."""
        return walk(self.event, path, 1)


def scope_of(event: CloudEvent) -> EventScope:
    """Return the event as conditions read it."""
    return EventScope(
        event={
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            "time": event.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "organization": event.organization,
            "sequence": float(event.sequence),
            "data": event.data,  # type: ignore[dict-item]  # it is JSON; see CloudEvent
        }
    )


@lru_cache(maxsize=10_000)
def compile_filter(text: str) -> Expression:
    """Compile a condition.

    Raises ExpressionInvalid with every problem found.
    """
    condition = Expression(parse(text, _VOCABULARY))
    if condition.type not in _CONDITION:
        raise ExpressionInvalid([f"is no condition: it gives {condition.type.lower()}"])
    if condition.macros:
        # Each may take 20 ms, and an organisation may have 500 conditions for each of its events.
        raise ExpressionInvalid(["has a list macro; `x in list` is all that it may ask of a list"])
    return condition


def filter_problems(text: str) -> list[str]:
    """Return what is wrong with a condition; nothing when it will do."""
    try:
        compile_filter(text)
    except ExpressionInvalid as error:
        return error.problems
    return []


def passes(filter_text: str, scope: EventScope) -> bool:
    """Tell whether an event meets a condition.

    Raises:
        FilterFailed: the condition fails on it, or was accepted by an earlier version only.
    """
    try:
        return compile_filter(filter_text).holds(scope)
    except (ExpressionFailed, ExpressionInvalid) as error:
        raise FilterFailed from error


def in_channel(channels: Sequence[str], data: Mapping[str, object]) -> bool:
    """Tell whether an event names one of the channels; without any, every event will do."""
    if not channels:
        return True
    named = data.get("channels")
    return isinstance(named, list) and any(channel in named for channel in channels)


def matches(filters: Sequence[str], event_type: str) -> bool:
    """Tell whether an event type passes one of the filters: exact, `prefix.*`, or `*` for all."""
    for wanted in filters:
        if wanted in ("*", event_type):
            return True
        if wanted.endswith(".*") and event_type.startswith(wanted[:-1]):
            return True
    return False
