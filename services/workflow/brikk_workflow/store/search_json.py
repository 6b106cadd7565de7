"""The JSON form in which searches are stored with what is asked of the executions they find."""

from __future__ import annotations

from typing import TypedDict

from brikk_shared.label_selector import Operator, Requirement
from brikk_shared.types import from_microseconds, to_microseconds
from brikk_workflow.domain.state import ExecutionStatus
from brikk_workflow.store.search import Search, Span


class _RequirementJson(TypedDict):
    key: str
    operator: str
    values: list[str]


class SearchJson(TypedDict):
    """The stored form of a search; times are microseconds since 1970."""

    execution_ids: list[str]
    workflow_id: str
    statuses: list[str]
    labels: list[_RequirementJson]
    created: list[int | None]
    ended: list[int | None]


def search_to_json(search: Search) -> SearchJson:
    """Returns the stored form."""
    return SearchJson(
        execution_ids=sorted(search.execution_ids),
        workflow_id=search.workflow_id,
        statuses=sorted(search.statuses),
        labels=[
            _RequirementJson(key=each.key, operator=each.operator.value, values=sorted(each.values))
            for each in search.labels
        ],
        created=_span_to_json(search.created),
        ended=_span_to_json(search.ended),
    )


def search_from_json(stored: SearchJson) -> Search:
    """Returns the search that `search_to_json` was given."""
    return Search(
        execution_ids=frozenset(stored["execution_ids"]),
        workflow_id=stored["workflow_id"],
        statuses=frozenset(map(ExecutionStatus, stored["statuses"])),
        labels=tuple(
            Requirement(
                key=each["key"],
                operator=Operator(each["operator"]),
                values=frozenset(each["values"]),
            )
            for each in stored["labels"]
        ),
        created=_span_from_json(stored["created"]),
        ended=_span_from_json(stored["ended"]),
    )


def _span_to_json(span: Span) -> list[int | None]:
    return [None if each is None else to_microseconds(each) for each in (span.since, span.until)]


def _span_from_json(stored: list[int | None]) -> Span:
    since, until = (None if each is None else from_microseconds(each) for each in stored)
    return Span(since=since, until=until)
