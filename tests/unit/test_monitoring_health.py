"""How a service is, judged by what it reported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from brikk_monitoring.domain.health import LOOP_LAG_MS, REPORTED, Health, Vitals
from brikk_monitoring.domain.measurement import Measurement, Status, Sums

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def vitals(metric: str, *measurements: tuple[Status, float], heard: datetime = NOW) -> Vitals:
    bucket: dict[str, int] = {}
    for status, value in measurements:
        Measurement(series=(metric,), status=status, value=value).add_to(bucket)
    reported = {each: Sums() for each in REPORTED}
    reported[metric].merge({name: str(number) for name, number in bucket.items()})
    return Vitals(reported=reported, heard=heard)


@pytest.mark.parametrize(
    ("vitals", "health"),
    [
        (vitals(LOOP_LAG_MS, (Status.OBSERVED, 100.0)), Health.HEALTHY),
        (vitals(LOOP_LAG_MS, (Status.OBSERVED, 400.0)), Health.DEGRADED),
        (vitals("redis.ping_ms", (Status.SUCCEEDED, 900.0)), Health.HEALTHY),
        (
            vitals("database.ping_ms", (Status.SUCCEEDED, 1.0), (Status.FAILED, 5.0)),
            Health.DEGRADED,
        ),
        (vitals(LOOP_LAG_MS, heard=NOW - timedelta(minutes=2)), Health.HEALTHY),
        (vitals(LOOP_LAG_MS, heard=NOW - timedelta(minutes=2, seconds=1)), Health.SILENT),
    ],
)
def test_a_service_is_as_its_reports_say(vitals: Vitals, health: Health) -> None:
    assert vitals.health(NOW) is health
