"""`brikk agent`: which agents are live, and what they can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brikk.discovery.v1 import agent_pb2, discovery_service_pb2
from brikk_cli.client import Services
from brikk_cli.options import DEFAULT_HOME, HomeOption, JsonOption, LimitOption
from brikk_cli.render import as_json, moment, print_json, show, state, table
from brikk_cli.session import perform

app = typer.Typer(no_args_is_help=True, help="See which agents are live.")


@app.callback()
def agent() -> None:
    """Keeps `list` a command of its own while it is the only one."""


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
        return
    rows = (
        (
            each.name,
            each.display_name,
            state(agent_pb2.Agent.State.Name(each.state)),
            f"{each.in_flight}/{each.capacity or '-'}",
            each.endpoint,
            moment(each.heartbeat_time),
            ", ".join(sorted(c.capability for s in each.services for c in s.capabilities)),
        )
        for each in agents
    )
    columns = ("agent", "name", "state", "in flight", "endpoint", "last beat", "capabilities")
    show(table(columns, rows))
