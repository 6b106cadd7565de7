"""The knobs of the webhooks service refuse what cannot work."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from brikk_webhooks.settings import WebhooksSettings

RING = Path("ring.json")


def test_the_standard_schedule() -> None:
    hours = [wait / timedelta(hours=1) for wait in WebhooksSettings(key_ring=RING).retry_schedule]
    assert hours == [5 / 3600, 5 / 60, 0.5, 2, 5, 10, 10]


@pytest.mark.parametrize("lease", ["15s", "1s"])
def test_a_lease_outlives_a_request(lease: str) -> None:
    with pytest.raises(ValidationError, match="claim_lease"):
        WebhooksSettings.model_validate({"key_ring": RING, "claim_lease": lease})


def test_a_poll_interval_is_no_busy_loop() -> None:
    with pytest.raises(ValidationError, match="poll_interval"):
        WebhooksSettings.model_validate({"key_ring": RING, "poll_interval": "0s"})


def test_workers_need_a_database_that_serves_many_processes() -> None:
    with pytest.raises(ValidationError, match="broker_url needs PostgreSQL in database_url"):
        WebhooksSettings(
            key_ring=RING, broker_url="redis://127.0.0.1/0", database_url="sqlite:///x.db"
        )
