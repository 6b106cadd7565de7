"""Finding executions: the filter that lists and batches share, and the list itself."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf import timestamp_pb2

from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.call import organization
from brikk_shared.errors import invalid_field
from brikk_shared.label_selector import MalformedSelector, Operator, Requirement, parse_selector
from brikk_shared.pagination import cut, page_of
from brikk_shared.types import from_microseconds, to_microseconds
from brikk_workflow.api.definitions import workflow_id_of
from brikk_workflow.api.execution_messages import State, to_execution
from brikk_workflow.api.parts import Context, Methods, id_of
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.state import ExecutionStatus
from brikk_workflow.store.search import Position, Search, Span, find_executions


class SearchMethods(Methods):
    """Lists executions, those accepted last first."""

    async def ListExecutions(
        self, request: pb.ListExecutionsRequest, context: Context
    ) -> pb.ListExecutionsResponse:
        """Reads a page."""
        page = page_of(request)
        search = to_search(request.filter)
        async with self._parts.database.reading() as connection:
            records = await find_executions(
                connection,
                organization(),
                search,
                after=_position_of(page.cursor),
                limit=page.size + 1,
            )
        shown, token = cut(request, page, records, _cursor_of)
        return pb.ListExecutionsResponse(
            executions=[to_execution(record) for record in shown],
            next_page_token=token,
        )


def to_search(wanted: pb.ExecutionFilter) -> Search:
    """Returns what a filter asks for.

    Raises:
        InvalidArgument: INVALID_FIELD, with the character at which the selector cannot be read.
    """
    try:
        requirements = parse_selector(wanted.label_selector)
    except MalformedSelector as error:
        problem = f"at character {error.position}: {error.problem}"
        raise invalid_field("filter.label_selector", problem) from error
    labels = [
        Requirement(key=key, operator=Operator.IN, values=frozenset([value]))
        for key, value in wanted.labels.items()
    ]
    return Search(
        execution_ids=frozenset(map(id_of, wanted.executions)),
        workflow_id=workflow_id_of(wanted.workflow) if wanted.workflow else "",
        statuses=frozenset(map(_to_status, wanted.states)),
        labels=(*labels, *requirements),
        created=_span(wanted, "create"),
        ended=_span(wanted, "end"),
    )


def _span(wanted: pb.ExecutionFilter, of: str) -> Span:
    def bound(which: str) -> datetime | None:
        field = f"{of}_{which}"
        if not wanted.HasField(field):  # type: ignore[arg-type]  # one of the four there are
            return None
        time: timestamp_pb2.Timestamp = getattr(wanted, field)
        return time.ToDatetime(tzinfo=UTC)

    return Span(since=bound("since"), until=bound("until"))


def _to_status(state: State.ValueType) -> ExecutionStatus:
    if not state:
        raise invalid_field("filter.states", "must not hold STATE_UNSPECIFIED")
    return ExecutionStatus[State.Name(state).removeprefix("STATE_")]


def _cursor_of(record: ExecutionRecord) -> str:
    return f"{to_microseconds(record.create_time)} {record.execution_id}"


def _position_of(cursor: str) -> Position | None:
    time, _, execution_id = cursor.partition(" ")
    # A cursor can be forged; one without a time is as good as the first page's.
    if not time.isdecimal() or len(time) > 18:
        return None
    return Position(create_time=from_microseconds(int(time)), execution_id=execution_id)
