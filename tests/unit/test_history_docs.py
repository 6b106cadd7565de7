"""The program that docs/history.md shows verifies an export, and tells what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from brikk_workflow.settings import WorkflowSettings
from support.chained import Line, history, written

DOCS = (Path(__file__).parents[2] / "docs" / "history.md").read_text()
[PROGRAM] = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)


@pytest.fixture
def verify() -> Callable[[Iterable[str]], None]:
    names: dict[str, Any] = {"__name__": "verify"}
    exec(PROGRAM, names)
    program: Callable[[Iterable[str]], None] = names["verify"]
    return program


def file(lines: list[Line]) -> list[str]:
    return written(lines).splitlines()


def test_its_program_verifies_an_export(verify: Callable[[Iterable[str]], None]) -> None:
    verify(file(history() + history("b2", 1)))


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (3, {"attributes": "{}"}, "entry 2"),
        (3, {"sequence": 3}, "entry 2"),
        (0, {"execution": "b2"}, "entry 1"),
        (0, {"hash": "00"}, "cut short"),
        (6, {"kind": "x"}, "cut short"),
    ],
)
def test_its_program_tells_what_is_wrong(
    verify: Callable[[Iterable[str]], None], number: int, change: Line, message: str
) -> None:
    lines = history()
    lines[number] |= change
    for more in ([], history("b2")):
        with pytest.raises(AssertionError, match=message):
            verify(file(lines + more))


def test_its_settings_exist() -> None:
    named = re.findall(r"BRIKK_WORKFLOW_([A-Z_]+)", DOCS)
    assert named
    assert {each.lower() for each in named} <= WorkflowSettings.model_fields.keys()
