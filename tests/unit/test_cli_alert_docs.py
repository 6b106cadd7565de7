"""What docs/alerting.md says of the command line, of rules, states and events is true."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from typer.main import get_command

from brikk.monitoring.v1.alert_pb2 import Alert
from brikk.monitoring.v1.alert_rule_pb2 import AlertRule
from brikk.monitoring.v1.escalation_pb2 import ListEscalationPoliciesResponse, RoutingTree
from brikk.monitoring.v1.silence_pb2 import ListMaintenanceWindowsResponse
from brikk_cli.commands.alert import app
from brikk_cli.inputs import parse_message
from brikk_monitoring.api.alert_messages import read_definition
from brikk_monitoring.api.telling_messages import read_policy, read_tree, read_window
from brikk_monitoring.domain.defaults import DEFAULTS, SYSTEM_DEFAULTS
from brikk_monitoring.domain.route import Destination
from brikk_monitoring.settings import MonitoringSettings
from brikk_webhooks.domain.catalog import EVENT_TYPES

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "alerting.md").read_text()
RULES = DOCS.partition("## Alerts")[0]
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


def test_its_routes_policies_and_windows_are_some() -> None:
    [shown] = re.findall(r"```json routes\n(.*?)```", DOCS, re.S)
    tree = RoutingTree()
    parse_message(shown.encode(), "docs", tree)
    assert len(read_tree(tree).routes) == 2
    [shown] = re.findall(r"```json policies\n(.*?)```", DOCS, re.S)
    policies = ListEscalationPoliciesResponse()
    parse_message(shown.encode(), "docs", policies)
    read_policy(policies.escalation_policies[0])
    [shown] = re.findall(r"```json windows\n(.*?)```", DOCS, re.S)
    windows = ListMaintenanceWindowsResponse()
    parse_message(shown.encode(), "docs", windows)
    read_window(windows.maintenance_windows[0])


def test_how_long_the_root_waits_is_as_it_says() -> None:
    root = Destination(route="root")
    for name, length in (("group_wait", "30 s"), ("group_interval", "5 m")):
        seconds = {"s": 1, "m": 60}[length[-1]] * int(length[:-2])
        assert getattr(root, name).total_seconds() == seconds
        assert f"| `{name}` | {length} |" in DOCS
    assert root.repeat_interval.total_seconds() == 4 * 3600


def test_conditions_states_defaults_and_events_are_all_there() -> None:
    conditions = [each.name for each in AlertRule.DESCRIPTOR.oneofs_by_name["condition"].fields]
    assert re.findall(r"^\| `([a-z_]+)` \|", RULES, re.MULTILINE) == conditions
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
