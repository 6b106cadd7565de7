"""`brikk workflow`: writing workflows and reading them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from brikk.workflow.v1 import workflow_service_pb2
from brikk_cli.client import Services
from brikk_cli.commands.workflow_trials import graph, test
from brikk_cli.definitions import check, read_definition, store, workflow_schema
from brikk_cli.failures import ExitCode
from brikk_cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    LimitOption,
    resource_name,
)
from brikk_cli.render import as_json, console, moment, plain, print_json, show, table
from brikk_cli.session import perform
from brikk_cli.workflow_view import lines

app = typer.Typer(no_args_is_help=True, help="Write workflows and read them.")
app.command()(graph)
app.command()(test)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="YAML file; - is stdin.")]


@app.command()
def validate(file: FileArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Check a definition without storing it; exit code 1 when it has problems."""
    perform(_validate(file, home, json), as_json=json)


@app.command()
def apply(file: FileArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Create the workflow that a file defines, or make its next version when it differs."""
    perform(_apply(file, home, json), as_json=json)


@app.command("list")
def list_(
    limit: LimitOption = 50, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """List workflows, by name."""
    perform(_list(limit, home, json), as_json=json)


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(help="ID of the workflow, or workflows/ID.")],
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show a workflow and the steps of its newest version, those inside others below them."""
    perform(_show(name, home, json), as_json=json)


@app.command()
def delete(
    name: Annotated[str, typer.Argument(help="ID of the workflow, or workflows/ID.")],
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Delete a workflow: nothing starts it any more; what runs goes on."""
    perform(_delete(name, home, json), as_json=json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the workflow language, by which editors complete and check YAML."""
    print_json(workflow_schema())


async def _validate(file: Path, home: Path, json: bool) -> int:
    text = read_definition(file)
    async with Services.at(home) as services:
        answer = await check(services, text)
    if json:
        print_json(as_json(answer))
    elif not answer.problems:
        definition = answer.definition
        show(plain(f"{file}: ok: {definition.workflow_id}, {len(definition.steps)} steps"))
    return _report(file, answer.problems)


async def _apply(file: Path, home: Path, json: bool) -> int:
    text = read_definition(file)
    async with Services.at(home) as services:
        answer = await check(services, text)
        if answer.problems:
            if json:
                print_json(as_json(answer))
            return _report(file, answer.problems)
        workflow, outcome = await store(services, answer.definition.workflow_id, text)
    if json:
        print_json(as_json(workflow))
    else:
        show(plain(f"{workflow.name}: {outcome}, version {workflow.latest_version}"))
    return 0


async def _list(limit: int, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        workflows = await services.pages(
            services.workflows.ListWorkflows,
            workflow_service_pb2.ListWorkflowsRequest(),
            lambda page: page.workflows,
            limit=limit,
        )
    if json:
        print_json({"workflows": [as_json(each) for each in workflows]})
        return
    rows = (
        (
            each.name,
            each.latest_version,
            len(each.definition.steps),
            moment(each.update_time),
            each.definition.description,
        )
        for each in workflows
    )
    show(table(("workflow", "version", "steps", "updated", "description"), rows))


async def _show(name: str, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        workflow = await services.call(
            services.workflows.GetWorkflow,
            workflow_service_pb2.GetWorkflowRequest(name=resource_name("workflows", name)),
        )
    if json:
        print_json(as_json(workflow))
        return
    definition = workflow.definition
    show(plain(f"{workflow.name} version {workflow.latest_version}: {definition.description}"))
    show(table(("step", "does", "after", "when"), lines(definition.steps)))


async def _delete(name: str, home: Path, json: bool) -> None:
    request = workflow_service_pb2.DeleteWorkflowRequest(name=resource_name("workflows", name))
    async with Services.at(home) as services:
        answer = await services.call(services.workflows.DeleteWorkflow, request)
    if json:
        print_json(as_json(answer))
    else:
        show(plain(f"{request.name}: deleted"))


def _report(file: Path, problems: Iterable[workflow_service_pb2.Problem]) -> int:
    errors = console(stderr=True)
    found = 0
    for problem in problems:
        found += 1
        where = f"{file}:{problem.line}:{problem.column}: "
        path = f"{problem.path}: " if problem.path else ""
        errors.print(plain(where + path + problem.message), soft_wrap=True)
    return ExitCode.FAILED if found else 0
