"""What docs/monitoring.md says of the command line is true; how courses and numbers are drawn."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from brikk.monitoring.v1 import query_pb2 as pb
from brikk_cli.commands.metrics import app
from brikk_cli.commands.metrics_query import Aggregation, Dimension, read_filters
from brikk_cli.failures import CommandError
from brikk_cli.measuring import step_of
from brikk_cli.metrics_view import aggregation_name, number, sparkline

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "monitoring.md").read_text()


def commands() -> dict[str, set[str]]:
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return {
        name: {option for each in command.params for option in each.opts if option[:2] == "--"}
        for name, command in group.commands.items()
    }


def test_every_command_and_option_is_described_and_there_are_no_others() -> None:
    assert set(re.findall(r"brikk metrics ([a-z]+)", DOCS)) == commands().keys()
    described = set(re.findall(r"(?<=[`\s])--[a-z][a-z-]*", DOCS))
    options = {option for each in commands().values() for option in each}
    assert described <= options
    assert options - described <= {"--home", "--json"}


def test_the_command_line_asks_for_all_that_can_be_asked() -> None:
    known = {aggregation_name(each) for each in pb.Aggregation.values()} - {"unspecified"}
    assert {each.value for each in Aggregation} == known
    names = {each.removeprefix("DIMENSION_") for each in pb.Dimension.keys()}  # noqa: SIM118 - no mapping
    assert {each.name for each in Dimension} == names - {"UNSPECIFIED"}


def test_filters_are_read_by_id_or_by_name() -> None:
    agent, capability = read_filters(["agent=agents/reader", "capability=text.read=fast"])
    assert (agent.dimension, agent.value) == (pb.DIMENSION_AGENT, "reader")
    assert capability.value == "text.read=fast"
    for wrong in ("agent", "organization=acme"):
        with pytest.raises(CommandError, match="write workflow"):
            read_filters([wrong])


def test_a_course_is_drawn_to_its_highest_point() -> None:
    assert sparkline([0, 1, 2, 7]) == "▁▂▃█"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""


@pytest.mark.parametrize(
    ("value", "text"), [(3.0, "3"), (0.0, "0"), (0.123456, "0.1235"), (1234.5, "1234")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("window", "step"),
    [
        (timedelta(minutes=5), timedelta(minutes=1)),
        (timedelta(hours=1), timedelta(minutes=2)),
        (timedelta(days=1), timedelta(hours=1)),
        (timedelta(days=400), timedelta(days=14)),
    ],
)
def test_a_window_is_cut_into_some_thirty_points(window: timedelta, step: timedelta) -> None:
    assert step_of(window) == step
