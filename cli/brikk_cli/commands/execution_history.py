"""`brikk execution export` and `verify`: histories as files, believed without any service."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Annotated

import typer

from brikk_cli.client import Services
from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.options import (
    DEFAULT_HOME,
    ExecutionArgument,
    HomeOption,
    JsonOption,
    resource_name,
)
from brikk_cli.render import plain, print_json, show
from brikk_cli.session import perform
from brikk_shared.chain import BrokenChain, Verified, verify

_GZIP = b"\x1f\x8b"


def export(name: ExecutionArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Write an execution with its history to stdout, as a file that `verify` takes."""
    perform(_write(name, home, sys.stdout.buffer), as_json=False)


def verify_(
    what: Annotated[
        list[str],
        typer.Argument(help="Files that were exported or archived; or the ID of an execution."),
    ],
    head: Annotated[
        str,
        typer.Option(help="The history_hash that the execution had when it was last looked at."),
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Tell whether histories are as they were written; files are verified without any service."""
    perform(_verify(what, head, home, json), as_json=json)


async def _write(name: str, home: Path, file: IO[bytes]) -> None:
    async with Services.at(home) as services:
        async for part in services.export(resource_name("executions", name)):
            file.write(part)
    file.flush()


async def _verify(what: Sequence[str], head: str, home: Path, json: bool) -> None:
    verified: list[Verified] = []
    for each in what:
        if (path := _file(each)) is not None:
            found = _verify_file(path)
        else:
            with TemporaryFile() as file:
                await _write(each, home, file)
                file.seek(0)
                found = _verify_lines(file, each)
        verified += found
        if not json:
            show(plain(_summary(each, found)))
    if head and [each.head for each in verified] != [head.lower()]:
        raise CommandError(f"the history does not end with the hash {head}")
    if json:
        print_json({"executions": [asdict(each) for each in verified]})


def _file(what: str) -> Path | None:
    if Path(what).exists():
        return Path(what)
    if "." in what:
        # No execution is called so.
        raise CommandError(f"{what}: no such file", exit_code=ExitCode.USAGE)
    return None


def _verify_file(path: Path) -> Sequence[Verified]:
    try:
        with path.open("rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            if not packed:
                return _verify_lines(file, str(path))
            with gzip.open(file) as lines:
                return _verify_lines(lines, str(path))
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise CommandError(f"{path}: it is damaged or cut short") from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", exit_code=ExitCode.USAGE) from None


def _verify_lines(lines: Iterable[bytes], where: str) -> Sequence[Verified]:
    try:
        return list(verify(lines))
    except BrokenChain as error:
        raise CommandError(f"{where}: {error}") from None


def _summary(where: str, verified: Sequence[Verified]) -> str:
    entries = sum(each.entries for each in verified)
    unchained = sum(each.unchained for each in verified)
    one = f"executions/{verified[0].execution}" if len(verified) == 1 else ""
    older = f"; {unchained} of them are older than the chain, of which nothing is known"
    return (
        f"{where}: {entries} entries of {one or f'{len(verified)} executions'} are as they were"
        f" written{older if unchained else ''}"
    )
