"""What people see of a webhook whose filter fails on events: that it does, and how often."""

from __future__ import annotations

import pytest
from rich.console import Console

from brikk.webhooks.v1.webhook_pb2 import Webhook
from brikk_cli.webhook_view import webhook_view


@pytest.mark.parametrize(
    ("failures", "shown"),
    [
        (0, ["if: event.data.cost > 1.0"]),
        (
            3,
            [
                "if: event.data.cost > 1.0",
                "failed: the condition, on 3 events, which did not pass",
            ],
        ),
    ],
)
def test_a_filter_that_fails_is_shown(failures: int, shown: list[str]) -> None:
    webhook = Webhook(
        name="webhooks/orders", filter="event.data.cost > 1.0", filter_failures=failures
    )
    console = Console(width=100)
    with console.capture() as capture:
        console.print(webhook_view(webhook))
    lines = capture.get().splitlines()
    assert [line.rstrip() for line in lines if line.startswith(("if", "failed"))] == shown
