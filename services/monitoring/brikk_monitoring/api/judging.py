"""One item of a batch, judged by itself: what it adds, or why it is refused."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishItem
from brikk_monitoring.domain.judgement import Judgement, Refusal
from brikk_monitoring.domain.meaning import Members, measure
from brikk_monitoring.domain.window import FUTURE_ALLOWANCE, minute_of
from brikk_shared.errors import BrikkError, InvalidArgument, Reason
from brikk_shared.event import check_event
from brikk_shared.identity import is_organization

UNATTRIBUTED: Final = "-"
"""Stands for the organisation of a refused event that names none; none can have this name."""


def judge(item: PublishItem, now: datetime) -> Judgement:
    """Judge an item. Only the members that count are read: converting all data would cost most."""
    event = item.event
    error = check_event(event)
    if error is None and event.time.seconds > (now + FUTURE_ALLOWANCE).timestamp():
        error = _in_future(event)
    if error is not None:
        return _refuse(item, error)
    measured = measure(event.type, _members(event))
    if isinstance(measured, BrikkError):
        return _refuse(item, measured)
    return Judgement(
        position=item.position,
        organization=event.organization,
        minute=minute_of(event.time.seconds),
        measurements=measured,
    )


def _members(event: Event) -> Members:
    fields = event.data.fields

    def member(name: str) -> object:
        value = fields.get(name)  # fields[name] would add it
        kind = None if value is None else value.WhichOneof("kind")
        return getattr(value, kind) if kind in ("string_value", "number_value") else None

    return member


def _refuse(item: PublishItem, error: BrikkError) -> Judgement:
    organization = item.event.organization
    return Judgement(
        position=item.position,
        organization=organization if is_organization(organization) else UNATTRIBUTED,
        refusal=Refusal(error=error, event=item.event.SerializeToString()),
    )


def _in_future(event: Event) -> BrikkError:
    return InvalidArgument(
        Reason.EVENT_IN_FUTURE,
        f"event {event.id} lies more than {FUTURE_ALLOWANCE.total_seconds():.0f} s in the future",
        metadata={"event": event.id},
    )
