"""`brikk agent`: which agents are live, what they can do, and what becomes of them."""

from __future__ import annotations

from pathlib import Path

import typer

from brikk.discovery.v1 import discovery_service_pb2
from brikk_cli.agent_view import agent_view
from brikk_cli.client import Services
from brikk_cli.commands.agent_finding import capabilities, resolve, search
from brikk_cli.commands.agent_listing import list_
from brikk_cli.commands.agent_states import drain, maintain, resume
from brikk_cli.commands.agent_watching import watch
from brikk_cli.options import (
    DEFAULT_HOME,
    AgentArgument,
    HomeOption,
    JsonOption,
    resource_name,
)
from brikk_cli.render import as_json, print_json, show
from brikk_cli.session import perform

app = typer.Typer(no_args_is_help=True, help="See which agents are live, find them, drain them.")
app.command("list")(list_)


@app.command("show")
def show_(name: AgentArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Show an agent with its state, its services and what they can do."""
    perform(_show(name, home, json), as_json=json)


app.command()(capabilities)
app.command()(resolve)
app.command()(search)
app.command()(watch)
app.command()(drain)
app.command()(maintain)
app.command()(resume)


async def _show(name: str, home: Path, json: bool) -> None:
    request = discovery_service_pb2.GetAgentRequest(name=resource_name("agents", name))
    async with Services.at(home) as services:
        agent = await services.call(services.agents.GetAgent, request)
    if json:
        print_json(as_json(agent))
    else:
        show(agent_view(agent))
