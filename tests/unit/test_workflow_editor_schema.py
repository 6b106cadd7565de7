"""What editors know of the language is what the reader knows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.definition import WorkflowDefinition
from brikk_workflow.domain.editor_schema import editor_schema
from brikk_workflow.domain.problems import Report
from brikk_workflow.domain.reader import write_definition
from brikk_workflow.domain.source import read_yaml
from brikk_workflow.domain.yaml_text import load_yaml
from support.any_definition import DEFINITIONS, as_text

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(
    r"```yaml\n(.*?)```\n", (ROOT / "docs" / "workflow-language.md").read_text(), re.DOTALL
)
STEP = "name: x\nsteps:\n  - {id: a, call: {capability: t.a}}\n"


def problems(raw: Any) -> list[str]:
    validator = Draft202012Validator(editor_schema())
    return [error.message for error in validator.iter_errors(raw)]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(editor_schema())


def test_what_the_command_shows_is_fresh() -> None:
    shown = (ROOT / "cli" / "brikk_cli" / "workflow.schema.json").read_text()
    assert json.loads(shown) == editor_schema(), "run `make schema`"


@settings(max_examples=30, deadline=None)
@given(DEFINITIONS)
def test_it_accepts_what_the_reader_reads(definition: WorkflowDefinition) -> None:
    assert problems(as_text(write_definition(definition))) == []


@pytest.mark.parametrize("yaml", BLOCKS)
def test_it_accepts_the_examples_of_the_reference(yaml: str) -> None:
    if isinstance(read_yaml(yaml), CompiledWorkflow):
        assert problems(load_yaml(yaml, Report())) == []


@pytest.mark.parametrize(
    "yaml",
    [
        "steps: []",
        "name: x\nsteps: []",
        "name: X\nsteps: [{id: a, call: {capability: t.a}}]",
        STEP + "owner: me",
        STEP + "timeout: 5",
        STEP + "timeout: ''",
        STEP + "budget: {cost: 0}",
        STEP + "  - {id: b}",
        STEP + "  - {id: b, call: {capability: t.a}, wait: {duration: 1s}}",
        STEP + "  - {id: b, call: {}}",
        STEP + "  - {id: b, call: {capability: A b}}",
        STEP + "  - {id: in, call: {capability: t.a}}",
        STEP + "  - {id: catch, call: {capability: t.a}}",
        STEP + "  - {id: b, wait: {duration: 1s}, retry: {max_attempts: 3}}",
        STEP + "  - {id: b, wait: {duration: 1s}, at_most_once: fail}",
        STEP + "  - {id: b, wait: {duration: 1s}, timeout: {heartbeat: 1s}}",
        STEP + "  - {id: b, join: some, wait: {duration: 1s}}",
        STEP + "  - {id: b, map: {over: input.x, steps: [{id: c}]}}",
        STEP
        + "  - {id: b, map: {over: input.x, tolerate: much, steps: [{id: c, fail: {reason: A}}]}}",
        STEP + "  - {id: b, switch: {cases: []}}",
        STEP + "  - {id: b, fail: {reason: bad}}",
        STEP + "  - {id: b, fail: {reason: A}, catch: [{steps: []}]}",
    ],
)
def test_it_refuses_what_the_reader_refuses(yaml: str) -> None:
    assert isinstance(read_yaml(yaml), list)
    assert problems(load_yaml(yaml, Report()))
