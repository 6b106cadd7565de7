"""`brikk token`: tokens for people and programs, signed with the home folder's key."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from brikk_cli.failures import CommandError
from brikk_cli.home import Home
from brikk_cli.inputs import parse_duration
from brikk_cli.keys import LOCAL_ORGANIZATION, USER_SCOPES, Keys, user_token
from brikk_cli.options import DEFAULT_HOME, HomeOption, JsonOption
from brikk_cli.render import print_json
from brikk_cli.session import perform


def token(
    organization: Annotated[str, typer.Option(help="Whose token it is.")] = LOCAL_ORGANIZATION,
    scopes: Annotated[
        str, typer.Option(help="What it may be used for, separated by spaces or commas.")
    ] = " ".join(USER_SCOPES),
    subject: Annotated[str, typer.Option(help="Who uses it.")] = "users/local",
    lifetime: Annotated[str, typer.Option(help="How long it is valid: 90s, 30m, 1h, 7d.")] = "1h",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Print a token for the suite of the home folder, for instance for grpcurl."""
    wanted = tuple(scopes.replace(",", " ").split())
    perform(
        _token(organization, wanted, subject, parse_duration(lifetime), home, json), as_json=json
    )


async def _token(
    organization: str,
    scopes: tuple[str, ...],
    subject: str,
    lifetime: timedelta,
    home: Path,
    json: bool,
) -> None:
    key = Keys(folder=Home(home).keys).user
    try:
        signed = user_token(
            key, organization=organization, scopes=scopes, subject=subject, lifetime=lifetime
        )
    except (OSError, ValueError) as error:
        raise CommandError(f"{key} cannot be used ({error}): `brikk up` makes it") from None
    if json:
        print_json({"token": signed})
    else:
        typer.echo(signed)
