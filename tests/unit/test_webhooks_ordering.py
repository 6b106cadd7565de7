"""What keeps deliveries in order is read from the event."""

from __future__ import annotations

from dataclasses import replace

import pytest

from brikk_webhooks.domain.ordering import ordering_value
from support.webhook_queue import EVENT

ORDER = replace(EVENT, data={"order": {"id": "o-7", "items": [1.0], "none": None}, "paid": True})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("", None),
        ("subject", "executions/x1"),
        ("source", "brikk.workflow"),
        ("type", "brikk.execution.succeeded.v1"),
        ("data.order.id", "o-7"),
        ("data.order.items", "[1.0]"),
        ("data.paid", "true"),
        ("data.order.none", None),
        ("data.customer", None),
        ("data.order.id.deeper", None),
    ],
)
def test_values(key: str, value: str | None) -> None:
    assert ordering_value(ORDER, key) == value


def test_a_long_value_is_told_by_its_hash() -> None:
    values = {
        ordering_value(replace(EVENT, subject="x" * 256 + end), "subject") for end in ("a", "b")
    }
    assert len(values) == 2
    assert all(value is not None and len(value) < 80 for value in values)
