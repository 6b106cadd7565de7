"""`brikk agent watch`: who offers some capabilities, as it changes."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from brikk_cli.agent_view import candidates_table
from brikk_cli.client import WATCH_PATIENCE, Services
from brikk_cli.offers import Offers, news
from brikk_cli.options import DEFAULT_HOME, HomeOption
from brikk_cli.render import as_json, console, print_json_line
from brikk_cli.session import perform


def watch(
    capabilities: Annotated[
        list[str], typer.Argument(help="E.g. text.summarize; text.* for all below text.")
    ],
    home: HomeOption = DEFAULT_HOME,
    json: Annotated[
        bool, typer.Option("--json", help="Print each piece of news as JSON in a line.")
    ] = False,
) -> None:
    """Follow who offers some capabilities, until Ctrl-C: a live table, or a line per change."""
    perform(_watch(capabilities, home, json), as_json=json, print_document=print_json_line)


async def _watch(capabilities: list[str], home: Path, json: bool) -> None:
    out, offers = console(), Offers()
    live = out.is_terminal and not json
    drawn = Live(console=out, auto_refresh=False)
    async with Services.at(home, patience=WATCH_PATIENCE) as services:
        with drawn if live else nullcontext():
            async for answer in services.watch_capabilities(capabilities):
                if json:
                    print_json_line(as_json(answer))
                elif live:
                    offers.take(answer)
                    drawn.update(candidates_table(offers), refresh=True)
                else:
                    for line in news(answer):
                        out.print(line, soft_wrap=True)
