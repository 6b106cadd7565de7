"""`brikk keys`: the keys that secrets rest under, replaced while the suite runs."""

from __future__ import annotations

from pathlib import Path

import typer

from brikk_cli.home import Home
from brikk_cli.keys import Keys, read_ring, rotate_ring
from brikk_cli.options import DEFAULT_HOME, HomeOption, JsonOption
from brikk_cli.render import print_json
from brikk_cli.session import perform
from brikk_shared.crypto import KeyRing

app = typer.Typer(no_args_is_help=True, help="Replace the keys that secrets rest under.")


@app.command()
def rotate(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Seal secrets under a new key from now on; a suite that runs seals the others anew."""
    perform(_rotate(Keys(folder=Home(home).keys).webhooks_ring, json), as_json=json)


@app.command("list")
def list_(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Show the names of the keys, and which of them seals."""
    perform(_list(Keys(folder=Home(home).keys).webhooks_ring, json), as_json=json)


async def _rotate(path: Path, json: bool) -> None:
    _show(rotate_ring(path), json)


async def _list(path: Path, json: bool) -> None:
    _show(read_ring(path), json)


def _show(ring: KeyRing, json: bool) -> None:
    if json:
        print_json({"primary": ring.primary, "keys": sorted(ring.keys)})
        return
    for name in ring.keys:
        typer.echo(f"{name}: {'seals and opens' if name == ring.primary else 'opens'}")
