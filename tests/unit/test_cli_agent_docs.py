"""What docs/agents.md says of the command line is true, and nothing of it is left out."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from typer.main import get_command

from brikk_cli.commands.agent import app

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "agents.md").read_text()
OF_TOKEN = {"--scopes"}


def options() -> set[str]:
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return {
        option
        for command in group.commands.values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }


def test_every_command_is_described_and_there_are_no_others() -> None:
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    named = re.findall(r"brikk agent ([a-z]+)", DOCS) + re.findall(r"`([a-z]+)`", DOCS)
    assert group.commands.keys() <= set(named)
    assert set(re.findall(r"brikk agent ([a-z]+)", DOCS)) <= group.commands.keys()


def test_every_filter_of_resolve_is_described_and_there_are_no_other_options() -> None:
    described = set(re.findall(r"(?<=[`\s])--[a-z][a-z-]*", DOCS)) - OF_TOKEN
    assert described <= options()
    assert options() - described <= {"--home", "--limit", "--capability", "--prefix"}
