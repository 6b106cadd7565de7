"""The dashboards for Grafana are those that their generator makes today."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

GRAFANA = Path(__file__).parents[2] / "deploy/grafana"


def test_the_committed_dashboards_are_fresh() -> None:
    made = dict(runpy.run_path(str(GRAFANA / "generate.py"))["files"]())
    assert made == {path: path.read_text() for path in GRAFANA.glob("*.json")}


def test_panels_do_not_lie_on_one_another() -> None:
    for path in GRAFANA.glob("*.json"):
        panels = json.loads(path.read_text())["panels"]
        places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
        assert len(places) == len({panel["title"] for panel in panels}) == len(panels)
