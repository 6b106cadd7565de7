"""Options of `brikk schedule` that are refused before any service is asked."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from brikk_cli.commands.schedule import app


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["create", "x", "--every=1x"], "'1x' is no duration"),
        (["create", "x", "--cron=* * * * *", "--every=1h"], "give --cron or --every, not both"),
        (["create", "x", "--every=1h", "--zone=UTC"], "--zone goes with --cron"),
        (["create", "x", "--cron=* * * * *", "--anchor=2026-01-01"], "--anchor goes with --every"),
        (["create", "x", "--every=1h", "--label=team"], "--label team: write KEY=VALUE"),
        (["update", "x"], "say what is to change"),
    ],
)
def test_what_is_wrong_is_told(arguments: list[str], complaint: str) -> None:
    more = ["--workflow=report"] if arguments[0] == "create" else []
    # Wide, or the message would be broken into lines.
    result = CliRunner().invoke(app, [*arguments, *more], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert complaint in result.stderr
