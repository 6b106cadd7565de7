"""The rules for Prometheus: each explained, tested, and accepted by Prometheus' own tool."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus"


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((RULES / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = rules("alerts.yml")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_each_alert_says_what_it_means_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert all(alert["annotations"].values())
    assert alert["labels"]["severity"] in {"critical", "warning", "info", "none"}
    document, _, anchor = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^### (.+)$", (ROOT / document).read_text(), re.MULTILINE)
    assert anchor in {heading.lower() for heading in headings}


def test_the_runbook_has_no_alerts_that_are_gone() -> None:
    headings = re.findall(r"^### (.+)$", (ROOT / "docs/prometheus.md").read_text(), re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]


def test_each_alert_is_seen_to_fire_and_not_to() -> None:
    cases = yaml.safe_load((RULES / "tests.yml").read_text())["tests"]
    checks = [check for case in cases for check in case["alert_rule_test"]]
    names = {alert["alert"] for alert in ALERTS}
    assert {check["alertname"] for check in checks if check["exp_alerts"]} == names
    quiet = {check["alertname"] for check in checks if not check["exp_alerts"]}
    assert quiet == names - {"BrikkWatchdog"}


def test_prometheus_accepts_them_and_they_do_what_they_are_for(
    tell: Callable[[str], None],
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        tell("promtool is not here: nobody looked whether the rules for Prometheus do their work")
        return
    for arguments in (["check", "config", "prometheus.yml"], ["test", "rules", "tests.yml"]):
        done = subprocess.run(
            [promtool, *arguments], cwd=RULES, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
