"""`brikk agent`: which agents are live, and what they can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brikk.discovery.v1 import discovery_service_pb2
from brikk_cli.agent_view import agent_view, agents_table
from brikk_cli.client import Services
from brikk_cli.commands.agent_finding import capabilities, resolve, search
from brikk_cli.commands.agent_states import drain, maintain, resume
from brikk_cli.commands.agent_watching import watch
from brikk_cli.options import (
    DEFAULT_HOME,
    AgentArgument,
    HomeOption,
    JsonOption,
    LimitOption,
    resource_name,
)
from brikk_cli.render import as_json, print_json, show
from brikk_cli.session import perform

app = typer.Typer(no_args_is_help=True, help="See which agents are live, find them, drain them.")


@app.command("list")
def list_(
    capability: Annotated[
        str, typer.Option(help="Only agents that offer this capability, e.g. text.summarize.")
    ] = "",
    limit: LimitOption = 50,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List live agents, by name."""
    perform(_list(capability, limit, home, json), as_json=json)


@app.command("show")
def show_(name: AgentArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Show an agent with its state, its services and what they can do."""
    perform(_show(name, home, json), as_json=json)


for command in (capabilities, resolve, search, drain, maintain, resume, watch):
    app.command()(command)


async def _list(capability: str, limit: int, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        agents = await services.pages(
            services.agents.ListAgents,
            discovery_service_pb2.ListAgentsRequest(capability=capability),
            lambda page: page.agents,
            limit=limit,
        )
    if json:
        print_json({"agents": [as_json(each) for each in agents]})
    else:
        show(agents_table(agents))


async def _show(name: str, home: Path, json: bool) -> None:
    request = discovery_service_pb2.GetAgentRequest(name=resource_name("agents", name))
    async with Services.at(home) as services:
        agent = await services.call(services.agents.GetAgent, request)
    if json:
        print_json(as_json(agent))
    else:
        show(agent_view(agent))
