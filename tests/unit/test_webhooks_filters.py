"""Which event types a webhook's filters let pass."""

from __future__ import annotations

import pytest

from brikk_webhooks.domain.webhook import matches

SUCCEEDED = "brikk.execution.succeeded.v1"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["*"], True),
        ([SUCCEEDED], True),
        (["brikk.*"], True),
        (["brikk.execution.*"], True),
        (["brikk.execution.succeeded.*"], True),
        (["brikk.step.*", "brikk.execution.*"], True),
        (["brikk.execution"], False),
        (["brikk.execution.succeeded.v1.*"], False),
        (["brikk.exec.*"], False),
        (["brikk.execution.succeeded.v11"], False),
        (["brikk.step.*"], False),
        ([], False),
    ],
)
def test_filters(filters: list[str], expected: bool) -> None:
    assert matches(filters, SUCCEEDED) is expected
