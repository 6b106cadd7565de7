"""`brikk up`: the whole suite on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group

from brikk_cli.logs import LogPrinter
from brikk_cli.options import (
    DEFAULT_HOME,
    DatabaseOption,
    HomeOption,
    JsonOption,
    Workers,
    WorkersOption,
)
from brikk_cli.plan import SERVICES, VALKEY, WORKERS
from brikk_cli.ports import Ports
from brikk_cli.render import console, plain, print_json, show, table
from brikk_cli.session import perform

if TYPE_CHECKING:
    from brikk_cli.suite import Suite


class LogLevel(StrEnum):
    """How much the services write."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def up(
    home: HomeOption = DEFAULT_HOME,
    port_base: Annotated[
        int, typer.Option(help="Port of discovery; all others move with it.")
    ] = Ports().discovery,
    port: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PORT", help="One port; repeatable. NAME as in the messages."),
    ] = None,
    database_url: DatabaseOption = None,
    workers: WorkersOption = Workers.NONE,
    log_level: Annotated[LogLevel, typer.Option(help="The least important lines to show.")] = (
        LogLevel.INFO
    ),
    json: JsonOption = False,
) -> None:
    """Run Valkey and the four services as processes of this machine, until Ctrl-C.

    Everything is kept in the home folder, which is made for you alone.
    """
    ports = Ports.from_base(port_base, _single_ports(port or ()))
    celery = workers is Workers.CELERY
    perform(_up(home, ports, database_url, celery, log_level, json), as_json=json)


async def _up(
    home: Path, ports: Ports, database_url: str | None, workers: bool, log_level: str, json: bool
) -> int:
    # Here, because loading all that runs a suite takes longer than most other commands.
    from brikk_cli.suite import Suite

    log = LogPrinter(console(stderr=json))
    suite = Suite(
        home,
        ports=ports,
        database_url=database_url,
        workers=workers,
        log_level=log_level,
        log=log,
    )
    async with suite:
        if json:
            print_json(_document(suite))
        else:
            show(_welcome(suite))
        with suppress(asyncio.CancelledError):  # a signal, which is how it is meant to end
            await asyncio.Event().wait()
        log("brikk", "stopping")
    return 0


def _single_ports(given: Sequence[str]) -> dict[str, int]:
    ports: dict[str, int] = {}
    for each in given:
        name, _, number = each.partition("=")
        if name not in Ports.names() or not number.isdecimal():
            names = ", ".join(Ports.names())
            raise typer.BadParameter(f"{each!r} is not NAME=PORT with a NAME of {names}")
        ports[name] = int(number)
    return ports


def _document(suite: Suite) -> dict[str, object]:
    return {
        "home": str(suite.home.path),
        "services": {
            service: {
                "address": suite.addresses[service],
                "metrics": _metrics(suite, service),
                "pid": suite.pid(service),
            }
            for service in SERVICES
        },
        "workers": {
            name: {"metrics": _worker_metrics(suite, name), "pid": suite.pid(name)}
            for name in (WORKERS if suite.workers else ())
        },
    }


def _welcome(suite: Suite) -> Group:
    rows = [
        (service, suite.addresses[service], _metrics(suite, service), suite.pid(service) or "")
        for service in SERVICES
    ]
    rows.append((VALKEY, suite.ports.address(VALKEY), "", suite.pid(VALKEY) or ""))
    if suite.workers:
        rows += [
            (name, "", each, suite.pid(name) or "")
            for name in WORKERS
            for each in _worker_metrics(suite, name)
        ]
    home = suite.home.path
    usual = home == DEFAULT_HOME.absolute()
    return Group(
        "",
        table(("service", "gRPC", "metrics", "process"), rows),
        "",
        plain(f"Keys, data and token: {home}. Stop with Ctrl-C. In another terminal:"),
        *(() if usual else (plain(f"  export BRIKK_HOME={home}"),)),
        "  brikk agent list",
        "  brikk workflow apply FILE.yaml",
        "  brikk execution start WORKFLOW --input FILE.json --wait",
        "",
    )


def _worker_metrics(suite: Suite, worker: str) -> list[str]:
    return [f"http://{suite.ports.address(name)}/metrics" for name in WORKERS[worker]]


def _metrics(suite: Suite, service: str) -> str:
    return f"http://{suite.http_addresses[service]}/metrics"
