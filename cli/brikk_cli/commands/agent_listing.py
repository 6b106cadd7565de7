"""`brikk agent list`: which agents are live, once or as it changes."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from brikk.discovery.v1 import agent_pb2, discovery_service_pb2
from brikk_cli.agent_view import agents_table
from brikk_cli.client import WATCH_PATIENCE, Services
from brikk_cli.options import DEFAULT_HOME, HomeOption, JsonOption, LimitOption
from brikk_cli.render import as_json, console, print_json, print_json_line, show
from brikk_cli.session import perform
from brikk_shared.clock import SystemClock

_LOOK_INTERVAL = timedelta(seconds=1)


def list_(
    capability: Annotated[
        str, typer.Option(help="Only agents that offer this capability, e.g. text.summarize.")
    ] = "",
    limit: LimitOption = 50,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show them anew as they change, until Ctrl-C.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List live agents, by name."""
    if watch:
        work = _watch(capability, limit, home, json)
        perform(work, as_json=json, print_document=print_json_line)
    else:
        perform(_list(capability, limit, home, json), as_json=json)


async def _list(capability: str, limit: int, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        agents = await _agents(services, capability, limit)
    if json:
        print_json(_document(agents))
    else:
        show(agents_table(agents))


async def _watch(capability: str, limit: int, home: Path, json: bool) -> None:
    """Look each second: a watch of capabilities does not tell of those that are not offered."""
    out, clock = console(), SystemClock()
    live = out.is_terminal and not json
    drawn = Live(console=out, auto_refresh=False)
    before: list[agent_pb2.Agent] | None = None
    async with Services.at(home, patience=WATCH_PATIENCE) as services:
        with drawn if live else nullcontext():
            while True:
                agents = await _agents(services, capability, limit)
                if agents != before:
                    if json:
                        print_json_line(_document(agents))
                    elif live:
                        drawn.update(agents_table(agents), refresh=True)
                    else:
                        out.print(agents_table(agents))
                before = agents
                await clock.sleep(_LOOK_INTERVAL)


async def _agents(services: Services, capability: str, limit: int) -> list[agent_pb2.Agent]:
    return await services.pages(
        services.agents.ListAgents,
        discovery_service_pb2.ListAgentsRequest(capability=capability),
        lambda page: page.agents,
        limit=limit,
    )


def _document(agents: list[agent_pb2.Agent]) -> dict[str, object]:
    return {"agents": [as_json(each) for each in agents]}
