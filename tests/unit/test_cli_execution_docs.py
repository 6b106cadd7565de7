"""What docs/executions.md says of the command line and of states is true and complete."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from typer.main import get_command

from brikk_cli.commands.execution import app
from brikk_cli.commands.execution_listing import ExecutionState

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "executions.md").read_text()


def test_every_command_is_described_and_there_are_no_others() -> None:
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    shown = set(re.findall(r"brikk execution ([a-z-]+)", DOCS))
    asked = set(re.findall(r"^\| `([a-z]+)", DOCS, re.MULTILINE))
    assert shown | asked == group.commands.keys()
    described = set(re.findall(r"(?<=[`\s])--[a-z][a-z-]*", DOCS))
    batch = group.commands["batch"]
    assert isinstance(batch, typer.core.TyperGroup)
    options = {
        option
        for command in (*group.commands.values(), *batch.commands.values())
        for parameter in command.params
        for option in parameter.opts
    }
    assert described <= options
    assert set(re.findall(r"brikk execution batch ([a-z]+)", DOCS)) == batch.commands.keys()


def test_every_state_is_described_and_there_are_no_others() -> None:
    _, _, table = DOCS.partition("## Where it stands")
    table, _, _ = table.partition("\n`brikk")
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")][2:]
    assert set(re.findall(r"[a-z]+", " ".join(rows))) == {each.value for each in ExecutionState}
