"""What docs/workers.md says of tasks and settings is true."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from brikk_monitoring.parts import TASKS
from brikk_monitoring.settings import MonitoringSettings
from brikk_webhooks.runtime.tasks import DRAIN, HOUSEKEEPING
from brikk_webhooks.settings import WebhooksSettings

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "workers.md").read_text()
UNITS = {"s": timedelta(seconds=1), "min": timedelta(minutes=1)}


def test_every_task_is_listed_with_its_interval() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) (s|min) \|", DOCS, re.M)
    listed = {name: int(count) * UNITS[unit] for name, count, unit in rows}
    assert listed == {task.name: task.every for task in (DRAIN, *HOUSEKEEPING, *TASKS)}


def test_every_setting_exists() -> None:
    named = {each.lower() for each in re.findall(r"BRIKK_WEBHOOKS_([A-Z_]+[A-Z])", DOCS)}
    assert named <= WebhooksSettings.model_fields.keys()
    named = {each.lower() for each in re.findall(r"BRIKK_MONITORING_([A-Z_]+[A-Z])", DOCS)}
    assert named <= MonitoringSettings.model_fields.keys()
    days = re.findall(r"`BRIKK_WEBHOOKS_([A-Z_]+)_RETENTION` \| (\d+) days", DOCS)
    told = {f"{name.lower()}_retention": timedelta(days=int(count)) for name, count in days}
    fields = WebhooksSettings.model_fields
    assert told == {
        name: fields[name].default for name in ("payload_retention", "delivery_retention")
    }
