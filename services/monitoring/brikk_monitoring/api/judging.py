"""One item of a batch, judged by itself: what it adds, or why it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishItem
from brikk.monitoring.v1.metrics_pb2 import MetricPoint
from brikk_monitoring.domain.judgement import Judgement, Refusal
from brikk_monitoring.domain.meaning import Members, measure
from brikk_monitoring.domain.measurement import Measurement, Status
from brikk_monitoring.domain.series import Dimension, Metric, series_name
from brikk_monitoring.domain.window import FUTURE_ALLOWANCE, minute_of
from brikk_shared.errors import BrikkError, InvalidArgument, Reason, invalid_field
from brikk_shared.event import check_event
from brikk_shared.identity import is_organization

UNATTRIBUTED: Final = "-"
"""Stands for the organisation of a refused event that names none; none can have this name."""

_COUNTED: Final = frozenset(Metric)
_GIVEN: Final = (
    Dimension.WORKFLOW,
    Dimension.AGENT,
    Dimension.CAPABILITY,
    Dimension.SERVICE,
)
"""The dimensions that a point may have, in the order of the names of series."""

_STATUSES: Final = {
    MetricPoint.OUTCOME_UNSPECIFIED: Status.OBSERVED,
    MetricPoint.OUTCOME_SUCCEEDED: Status.SUCCEEDED,
    MetricPoint.OUTCOME_FAILED: Status.FAILED,
}


def judge(item: PublishItem, now: datetime) -> Judgement:
    """Judge an item. Only the members that count are read: converting all data would cost most."""
    event = item.event
    error = check_event(event)
    if error is None and event.time.seconds > (now + FUTURE_ALLOWANCE).timestamp():
        error = _too_far(f"event {event.id}", {"event": event.id})
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


def judge_point(index: int, point: MetricPoint, organization: str, now: datetime) -> Judgement:
    """Judge an observation that keeps its contract; its position is its place, from 1."""
    error: BrikkError | None = None
    if point.metric in _COUNTED:
        error = invalid_field(f"points[{index}].metric", "is counted from events")
    elif point.time.seconds > (now + FUTURE_ALLOWANCE).timestamp():
        error = _too_far(f"points[{index}]", {"point": str(index)})
    if error is not None:
        return Judgement(
            position=index + 1,
            organization=organization,
            refusal=Refusal(error=error, event=point.SerializeToString()),
        )
    dimensions = {each.value: str(getattr(point, each)) for each in _GIVEN if getattr(point, each)}
    names = (point.metric, series_name(point.metric, **dimensions))
    seconds = point.time.seconds if point.HasField("time") else int(now.timestamp())
    measurement = Measurement(
        series=names if dimensions else names[:1],
        status=_STATUSES[point.outcome],
        value=point.value if point.HasField("value") else None,
        count=point.count or 1,
    )
    return Judgement(
        position=index + 1,
        organization=organization,
        minute=minute_of(seconds),
        measurements=(measurement,),
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


def _too_far(what: str, metadata: Mapping[str, str]) -> BrikkError:
    return InvalidArgument(
        Reason.EVENT_IN_FUTURE,
        f"{what} lies more than {FUTURE_ALLOWANCE.total_seconds():.0f} s in the future",
        metadata=metadata,
    )
