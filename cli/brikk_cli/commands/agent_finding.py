"""`brikk agent capabilities`, `resolve` and `search`: who can do something."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from brikk.discovery.v1 import agent_pb2, discovery_service_pb2
from brikk_cli.agent_view import candidates_table, capabilities_table, finds_table
from brikk_cli.client import Services
from brikk_cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    LimitOption,
    resource_name,
)
from brikk_cli.render import as_json, plain, print_json, show
from brikk_cli.session import perform

_MOST_RESULTS = 100


class Protocol(StrEnum):
    """What agents speak, as people write it."""

    BRIKK = "brikk"
    A2A_GRPC = "a2a_grpc"


ResultsOption = Annotated[
    int, typer.Option("--limit", min=1, max=_MOST_RESULTS, help="Most results to show.")
]


def capabilities(
    prefix: Annotated[str, typer.Option(help="Only those whose name begins so.")] = "",
    limit: LimitOption = 50,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List the capabilities that live agents offer, with how many offer them."""
    perform(_capabilities(prefix, limit, home, json), as_json=json)


def resolve(
    capability: Annotated[
        str, typer.Argument(help="E.g. text.summarize; text.* for all below text.")
    ],
    version_range: Annotated[
        str, typer.Option(help="Versions of the capability that will do, e.g. >=1.2,<2.")
    ] = "",
    selector: Annotated[
        str,
        typer.Option(help="Labels the agent must have, e.g. tier=gold,region in (eu,us),!beta."),
    ] = "",
    protocol: Annotated[
        Protocol | None, typer.Option(help="What the agent must speak; any when not given.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Where it must run; anywhere when not given.")] = "",
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="AGENT", help="Agents that will not do; repeatable."),
    ] = None,
    limit: ResultsOption = 20,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show who would be given work, best first, and why in this order."""
    request = discovery_service_pb2.ResolveCapabilityRequest(
        capability=capability,
        version_range=version_range,
        selector=selector,
        zone=zone,
        excluded_agents=[resource_name("agents", each) for each in exclude or ()],
        max_results=limit,
    )
    if protocol is not None:
        request.protocol = agent_pb2.Protocol.Value(f"PROTOCOL_{protocol.name}")
    perform(_resolve(request, home, json), as_json=json)


def search(
    question: Annotated[list[str], typer.Argument(help="What is sought, in your words.")],
    limit: ResultsOption = 10,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Find services from words or a sentence, best match first."""
    perform(_search(" ".join(question), limit, home, json), as_json=json)


async def _capabilities(prefix: str, limit: int, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        found = await services.pages(
            services.agents.ListCapabilities,
            discovery_service_pb2.ListCapabilitiesRequest(prefix=prefix),
            lambda page: page.capabilities,
            limit=limit,
        )
    if json:
        print_json({"capabilities": [as_json(each) for each in found]})
    else:
        show(capabilities_table(found))


async def _resolve(
    request: discovery_service_pb2.ResolveCapabilityRequest, home: Path, json: bool
) -> None:
    async with Services.at(home) as services:
        answer = await services.call(services.agents.ResolveCapability, request)
    if json:
        print_json(as_json(answer))
    elif answer.candidates:
        show(candidates_table(answer.candidates))
    else:
        show(plain(f"nobody may be given {request.capability} now, as it was asked for"))


async def _search(question: str, limit: int, home: Path, json: bool) -> None:
    request = discovery_service_pb2.SearchAgentsRequest(query=question, max_results=limit)
    async with Services.at(home) as services:
        answer = await services.call(services.agents.SearchAgents, request)
    if json:
        print_json(as_json(answer))
    elif answer.results:
        show(finds_table(answer.results))
    else:
        show(plain("no live agent says anything of the kind; try other words"))
