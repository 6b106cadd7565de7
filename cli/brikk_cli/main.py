"""Coordinate agents: run the suite, write workflows, follow executions."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Annotated

import typer

from brikk_cli.commands import agent, alert, execution, keys, metrics, schedule, webhook, workflow
from brikk_cli.commands.demo import demo
from brikk_cli.commands.token import token
from brikk_cli.commands.up import up
from brikk_cli.failures import EXIT_CODES_HELP

_DIRECT = "no_grpc_proxy"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(up)
app.command()(demo)
app.command()(token)
app.add_typer(workflow.app, name="workflow")
app.add_typer(execution.app, name="execution")
app.add_typer(schedule.app, name="schedule")
app.add_typer(agent.app, name="agent")
app.add_typer(webhook.app, name="webhook")
app.add_typer(metrics.app, name="metrics")
app.add_typer(alert.app, name="alert")
app.add_typer(keys.app, name="keys")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"brikk {version('brikk-cli')}")
        raise typer.Exit


@app.callback(help=__doc__, epilog=EXIT_CODES_HELP)
def brikk(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options of the command itself."""


def main() -> None:
    """Entry point of the `brikk` script."""
    # gRPC hands even loopback to the proxy that http_proxy names, unless told; children inherit it.
    direct = os.environ.get(_DIRECT) or os.environ.get("no_proxy") or ""
    os.environ[_DIRECT] = f"{direct},127.0.0.1,localhost".lstrip(",")
    app(prog_name="brikk")
