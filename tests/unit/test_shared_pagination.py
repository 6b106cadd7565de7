"""A page token leads to the next page of the same list, and to nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1.webhook_service_pb2 import ListDeliveriesRequest, ListWebhooksRequest
from brikk_shared.errors import BrikkError, Reason
from brikk_shared.pagination import cut, next_token, page_of

_FAILED = webhook_pb2.Delivery.STATE_FAILED


def _request(token: str = "", size: int = 0, parent: str = "webhooks/a") -> ListDeliveriesRequest:
    return ListDeliveriesRequest(parent=parent, page_size=size, page_token=token, state=_FAILED)


@pytest.mark.parametrize(("asked", "given"), [(0, 50), (7, 7), (500, 500), (10_000, 500)])
def test_the_size_is_coerced(asked: int, given: int) -> None:
    page = page_of(_request(size=asked))
    assert (page.size, page.cursor) == (given, "")


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(BrikkError) as refused:
        page_of(_request(size=-1))
    assert refused.value.reason is Reason.INVALID_FIELD


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_token_brings_its_cursor_back_whatever_the_page_size(cursor: str) -> None:
    token = next_token(_request(size=5), cursor)
    assert page_of(_request(token, size=9)).cursor == cursor


@given(st.integers(0, 30), st.integers(1, 10))
def test_pages_cut_one_after_another_are_the_whole_list(length: int, size: int) -> None:
    request, shown = _request(size=size), list[int]()
    for _ in range(0, max(length, 1), size):
        page = page_of(request)
        after = int(page.cursor or 0)
        found = range(after + 1, min(after + size + 1, length) + 1)
        items, request.page_token = cut(request, page, found, str)
        shown += items
    assert (shown, request.page_token) == (list(range(1, length + 1)), "")


def test_a_token_is_refused_for_other_fields_and_other_methods() -> None:
    token = next_token(_request(), "x")
    for other in (_request(token, parent="webhooks/b"), ListWebhooksRequest(page_token=token)):
        _is_refused(other)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_junk_is_refused(token: str) -> None:
    _is_refused(_request(token))


def test_a_cursor_with_a_nul_is_refused() -> None:
    _is_refused(_request(next_token(_request(), "\0")))


def _is_refused(request: ListDeliveriesRequest | ListWebhooksRequest) -> None:
    with pytest.raises(BrikkError) as refused:
        page_of(request)
    assert refused.value.code == "INVALID_ARGUMENT"
    assert refused.value.reason is Reason.INVALID_PAGE_TOKEN
    assert refused.value.violations[0].field == "page_token"
