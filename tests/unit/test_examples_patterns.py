"""The ways agents work together, written down as workflows: each is accepted as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from brikk_workflow.domain.source import read_yaml

PATTERNS = Path(__file__).parents[2] / "examples" / "patterns"
NAMES = {
    "blackboard",
    "concurrent",
    "group-chat",
    "handoff",
    "hierarchical",
    "magentic",
    "market",
    "orchestrator-worker",
    "sequential",
}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_pattern_is_a_workflow(name: str) -> None:
    workflow = read_yaml((PATTERNS / f"{name}.yaml").read_text())
    assert not isinstance(workflow, list), workflow
    assert workflow.definition.id == name


def test_each_pattern_is_tried() -> None:
    assert {path.stem for path in PATTERNS.glob("*.yaml")} == NAMES
