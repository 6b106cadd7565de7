"""What docs/workflow-language.md shows is what the language does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.definition import RetryPolicy, StepTimeout
from brikk_workflow.domain.duration import parse_duration
from brikk_workflow.domain.expression import compile_expression
from brikk_workflow.domain.retry import PERMANENT_CODES
from brikk_workflow.domain.source import read_yaml

TEXT = (Path(__file__).parents[2] / "docs" / "workflow-language.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", TEXT, re.DOTALL)
TABLE = TEXT[TEXT.index("| to | write |") : TEXT.index("**Numbers** in data")]
EXPRESSIONS = re.findall(r"`(.*?)`", TABLE)
DEFAULTS = dict(re.findall(r"^\| `(\w+)` \|.*?\| `?([^|`]+?)`? (?:\||$)", TEXT, re.MULTILINE))


@pytest.mark.parametrize(("yaml", "problems"), BLOCKS)
def test_every_block_is_accepted_or_refused_as_shown(yaml: str, problems: str) -> None:
    read = read_yaml(yaml)
    if isinstance(read, CompiledWorkflow):
        assert not problems
    else:
        told = "".join(f"{each.line}:{each.column} {each.path}: {each.message}\n" for each in read)
        assert told == problems


def test_the_blocks_are_found() -> None:
    assert len(BLOCKS) >= 8
    assert sum(bool(problems) for _, problems in BLOCKS) == 1
    assert len(EXPRESSIONS) >= 12


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_every_expression_of_the_table_is_accepted(text: str) -> None:
    compile_expression(text)


def test_the_defaults_are_those_of_the_tables() -> None:
    retry, timeout = RetryPolicy(), StepTimeout()
    assert DEFAULTS["max_attempts"] == str(retry.max_attempts)
    assert DEFAULTS["multiplier"] == f"{retry.multiplier:g}"
    assert DEFAULTS["jitter"] == f"{retry.jitter:g}"
    assert parse_duration(DEFAULTS["initial"]) == retry.initial
    assert parse_duration(DEFAULTS["max"]) == retry.max
    assert parse_duration(DEFAULTS["schedule_to_start"]) == timeout.schedule_to_start
    assert parse_duration(DEFAULTS["start_to_close"]) == timeout.start_to_close


def test_the_codes_that_are_not_retried_are_all_named() -> None:
    rule = TEXT[TEXT.index("3. Its code") : TEXT.index("4. Anything else")]
    assert set(re.findall(r"`([A-Z_]+)`", rule)) == PERMANENT_CODES
