"""The catalogue of event types holds what the services announce."""

from __future__ import annotations

import re
from pathlib import Path

import brikk_workflow.domain.journal
from brikk_discovery.domain.fact import FactType
from brikk_monitoring.domain.alert import AlertState
from brikk_webhooks.domain.catalog import EVENT_TYPES
from brikk_webhooks.domain.cloudevent import TEST_TYPE
from brikk_workflow.domain.state import ExecutionStatus

JOURNAL = Path(brikk_workflow.domain.journal.__file__).read_text()


def test_it_holds_what_is_announced_by_name() -> None:
    announced = set(re.findall(r'_announce\(\s*"([a-z_.]+)"', JOURNAL))
    assert announced
    ends = {f"execution.{status}" for status in ExecutionStatus if status.terminal}
    workflow = {f"brikk.{each}.v1" for each in announced | ends}
    alerts = {f"brikk.alert.{state.name.lower()}.v1" for state in AlertState}
    others = {"brikk.alert.passed.v1", "brikk.custom.*", TEST_TYPE}
    assert set(EVENT_TYPES) == {*workflow, *FactType, *alerts, *others}
    assert list(EVENT_TYPES) == sorted(EVENT_TYPES)
