"""`brikk agent drain`, `maintain` and `resume`: what an operator wants of an agent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brikk.discovery.v1 import agent_pb2, discovery_service_pb2
from brikk_cli.agent_view import state_line
from brikk_cli.client import Services
from brikk_cli.options import (
    DEFAULT_HOME,
    AgentArgument,
    HomeOption,
    JsonOption,
    resource_name,
)
from brikk_cli.render import as_json, print_json, show
from brikk_cli.session import perform

ReasonOption = Annotated[str, typer.Option(help="Why, for people; `brikk agent show` shows it.")]


def drain(
    name: AgentArgument,
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Give an agent no new work, until it is resumed; it finishes what it has."""
    perform(_set(name, agent_pb2.Agent.STATE_DRAINING, reason, home, json), as_json=json)


def maintain(
    name: AgentArgument,
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Take an agent out for maintenance, until it is resumed."""
    perform(_set(name, agent_pb2.Agent.STATE_MAINTENANCE, reason, home, json), as_json=json)


def resume(
    name: AgentArgument,
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Give an agent work again after `drain` or `maintain`."""
    perform(_set(name, agent_pb2.Agent.STATE_READY, reason, home, json), as_json=json)


async def _set(
    name: str, wanted: agent_pb2.Agent.State.ValueType, reason: str, home: Path, json: bool
) -> None:
    request = discovery_service_pb2.SetAgentStateRequest(
        name=resource_name("agents", name), state=wanted, reason=reason
    )
    async with Services.at(home) as services:
        agent = await services.call(services.agents.SetAgentState, request)
    if json:
        print_json(as_json(agent))
    else:
        show(state_line(agent))
