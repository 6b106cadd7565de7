"""MonitoringService: questions of any shape, and their answers as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import grpc
from google.protobuf import json_format

from brikk.monitoring.v1 import query_pb2 as pb
from brikk.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceServicer
from brikk_monitoring.api.access import readable_organization
from brikk_monitoring.api.answers import Answers
from brikk_monitoring.api.quantities import timestamp
from brikk_monitoring.domain.measurement import Sums
from brikk_monitoring.domain.question import Aggregation, Course, Question, aggregate
from brikk_monitoring.domain.report import harmless
from brikk_monitoring.domain.series import Dimension
from brikk_monitoring.runtime.analysis import Analysis, Found
from brikk_shared.clock import Clock
from brikk_shared.errors import invalid_field

_DEFAULT_RANGE: Final = timedelta(hours=1)
_DEFAULT_TOP: Final = 20
_LONGEST: Final = timedelta(days=3660)
_AGGREGATIONS: Final = {
    pb.Aggregation.Value(f"AGGREGATION_{each.name}"): each for each in Aggregation
}
_DIMENSIONS: Final = {pb.Dimension.Value(f"DIMENSION_{each.name}"): each for each in Dimension}


class QueryMethods(MonitoringServiceServicer):
    """Answers questions about what was counted for the caller's organisation."""

    def __init__(self, analysis: Analysis, answers: Answers, clock: Clock) -> None:
        self._analysis = analysis
        self._answers = answers
        self._clock = clock

    async def QueryMetrics(
        self, request: pb.QueryMetricsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.QueryMetricsResponse:
        """Add up what was asked for."""
        return await self._answers.get(
            readable_organization(), request, lambda: self._query(request)
        )

    async def ExportMetrics(
        self, request: pb.ExportMetricsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ExportMetricsResponse:
        """Write the answer down."""
        query = request.query
        answer = await self._answers.get(readable_organization(), query, lambda: self._query(query))
        if request.format == pb.ExportMetricsRequest.FORMAT_CSV:
            return pb.ExportMetricsResponse(content=_csv(query, answer), content_type="text/csv")
        document = json_format.MessageToJson(answer, preserving_proto_field_name=True, indent=None)
        return pb.ExportMetricsResponse(content=document.encode(), content_type="application/json")

    async def _query(self, request: pb.QueryMetricsRequest) -> pb.QueryMetricsResponse:
        now = self._clock.now()
        question = _question(request, now)
        course, groups = await self._analysis.answer(readable_organization(), question, now)
        asked = list(request.aggregations) or [pb.AGGREGATION_COUNT]
        aggregations = [_AGGREGATIONS[each] for each in asked]
        start, end = course.moment(0), question.end
        length = min(end, now) - start
        return pb.QueryMetricsResponse(
            start_time=timestamp(start),
            end_time=timestamp(end),
            step=request.step if request.HasField("step") else None,
            aggregations=asked,
            groups=[_group(each, course, aggregations, length, min(end, now)) for each in groups],
        )


def _question(request: pb.QueryMetricsRequest, now: datetime) -> Question:
    end = request.end_time.ToDatetime(UTC) if request.HasField("end_time") else now
    start = (
        request.start_time.ToDatetime(UTC)
        if request.HasField("start_time")
        else end - _DEFAULT_RANGE
    )
    if not timedelta(0) < end - start <= _LONGEST:
        raise invalid_field("start_time", "must lie before end_time, by ten years at most")
    for index, aggregation in enumerate(request.aggregations):
        if aggregation not in _AGGREGATIONS:
            raise invalid_field(f"aggregations[{index}]", "is none that is known")
    group_by = read_dimensions("group_by", request.group_by)
    filtered = read_dimensions("filters", [each.dimension for each in request.filters])
    values = [each.value for each in request.filters]
    return Question(
        metric=request.metric,
        start=start,
        end=end,
        step=request.step.ToTimedelta() if request.HasField("step") else None,
        group_by=group_by,
        filters=dict(zip(filtered, values, strict=True)),
        top=request.top or _DEFAULT_TOP,
        compare=request.compare,
    )


def read_dimensions(field: str, given: Sequence[pb.Dimension.ValueType]) -> tuple[Dimension, ...]:
    """Read dimensions of a field.

    Raises:
        InvalidArgument: one is unspecified, or there twice.
    """
    for index, each in enumerate(given):
        if each not in _DIMENSIONS or each in given[:index]:
            raise invalid_field(f"{field}[{index}]", "is a dimension that is unknown, or twice")
    return tuple(_DIMENSIONS[each] for each in given)


def _group(
    found: Found,
    course: Course,
    aggregations: Sequence[Aggregation],
    length: timedelta,
    until: datetime,
) -> pb.MetricGroup:
    points = []
    for number, sums in enumerate(found.points):
        begin = course.moment(number)
        lasted = min(course.moment(number + 1), until) - begin
        points.append(
            pb.MetricPointValues(
                start_time=timestamp(begin), values=_values(sums, aggregations, lasted)
            )
        )
    return pb.MetricGroup(
        dimensions={name.value: value for name, value in found.dimensions},
        total=_values(found.total, aggregations, length),
        previous=(
            None if found.previous is None else _values(found.previous, aggregations, length)
        ),
        points=points,
    )


def _values(sums: Sums, aggregations: Sequence[Aggregation], length: timedelta) -> pb.MetricValues:
    return pb.MetricValues(
        values=[aggregate(each, sums, length) for each in aggregations],
        counts=sums.counts,
        errors=sums.errors,
    )


def _csv(query: pb.QueryMetricsRequest, answer: pb.QueryMetricsResponse) -> bytes:
    """A row for each point of each group, or for each group when there are no points."""
    dimensions = [_DIMENSIONS[each].value for each in query.group_by]
    asked = [_AGGREGATIONS[each].value for each in answer.aggregations]
    points = query.HasField("step")
    previous = [f"previous_{name}" for name in asked] if query.compare and not points else []
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["start_time", *dimensions, *asked, *previous])
    for group in answer.groups:
        named = [harmless(group.dimensions[name]) for name in dimensions]
        for point in group.points:
            rows.writerow([point.start_time.ToJsonString(), *named, *point.values.values])
        if not points:
            values = [*group.total.values, *group.previous.values]
            rows.writerow([answer.start_time.ToJsonString(), *named, *values])
    return text.getvalue().encode()
