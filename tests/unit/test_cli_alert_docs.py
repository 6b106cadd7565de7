"""What docs/alerting.md says of the command line, of rules, states and events is true."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from typer.main import get_command

from brikk.monitoring.v1.alert_pb2 import Alert
from brikk.monitoring.v1.alert_rule_pb2 import AlertRule
from brikk_cli.commands.alert import app
from brikk_cli.inputs import parse_message
from brikk_monitoring.api.alert_messages import read_definition
from brikk_monitoring.domain.defaults import DEFAULTS, SYSTEM_DEFAULTS
from brikk_monitoring.settings import MonitoringSettings
from brikk_webhooks.domain.catalog import EVENT_TYPES

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "alerting.md").read_text()
OF_OTHERS = {"--home", "--json", "--limit"}


def test_every_command_and_option_is_described_and_there_are_no_others() -> None:
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    assert set(re.findall(r"brikk alert ([a-z]+)", DOCS)) == group.commands.keys()
    options = {
        option
        for command in group.commands.values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }
    shown = set(re.findall(r"(?<=[`\s])--[a-z][a-z-]*", DOCS))
    assert shown | OF_OTHERS == options


def test_its_rule_is_one() -> None:
    [shown] = re.findall(r"```json\n(.*?)```", DOCS, re.S)
    rule = AlertRule()
    parse_message(shown.encode(), "docs", rule)
    read_definition(rule)


def test_conditions_states_defaults_and_events_are_all_there() -> None:
    conditions = [each.name for each in AlertRule.DESCRIPTOR.oneofs_by_name["condition"].fields]
    assert re.findall(r"^\| `([a-z_]+)` \|", DOCS, re.MULTILINE) == conditions
    states = [each.removeprefix("STATE_") for each in Alert.State.keys()[1:]]
    assert re.findall(r"^\| `([A-Z]+)` \|", DOCS, re.MULTILINE) == states
    for each in (*DEFAULTS, *SYSTEM_DEFAULTS):
        assert f"`{each}`" in DOCS
    events = {each.split(".")[2] for each in EVENT_TYPES if each.startswith("brikk.alert.")}
    assert events == {*(state.lower() for state in states), "passed"}
    for setting in re.findall(r"BRIKK_MONITORING_([A-Z_]+)", DOCS):
        assert setting.lower() in MonitoringSettings.model_fields


def test_the_default_rules_can_be_evaluated() -> None:
    for each in (*DEFAULTS.values(), *SYSTEM_DEFAULTS.values()):
        each.check()
