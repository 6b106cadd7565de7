"""What docs/schedules.md says of the command line is true and complete."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from typer.main import get_command

from brikk_cli.commands.schedule import app
from brikk_cli.schedule_fields import OverlapPolicy

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "schedules.md").read_text()
OF_OTHERS = {"--home", "--json", "--limit"}


def test_every_command_and_option_is_described_and_there_are_no_others() -> None:
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    shown = set(re.findall(r"brikk schedule ([a-z]+)", DOCS))
    steering = set(re.findall(r"^\| `([a-z]+)[ `]", DOCS.partition("## Steering")[2], re.MULTILINE))
    assert shown | steering == group.commands.keys()
    options = {
        option
        for command in group.commands.values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }
    assert set(re.findall(r"(?<=[`\s])--[a-z][a-z-]*", DOCS)) == options - OF_OTHERS


def test_every_overlap_policy_is_described_and_there_are_no_others() -> None:
    table = DOCS.partition("| `--overlap` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE) == list(OverlapPolicy)
