"""`brikk workflow test` and `graph`: what a workflow would do, and what it looks like."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.struct_pb2 import Struct

from brikk.workflow.v1 import workflow_service_pb2 as pb
from brikk.workflow.v1.execution_pb2 import WorkflowExecution
from brikk_cli.client import Services
from brikk_cli.definitions import read_definition
from brikk_cli.failures import ExitCode
from brikk_cli.inputs import read_input
from brikk_cli.options import DEFAULT_HOME, HomeOption, JsonOption, resource_name
from brikk_cli.render import as_json, console, plain, print_json, show
from brikk_cli.session import perform
from brikk_cli.trial_view import trial_view


class Format(StrEnum):
    """Languages of pictures."""

    MERMAID = "mermaid"
    DOT = "dot"


def graph(
    name: Annotated[str, typer.Argument(help="ID of the workflow, or workflows/ID.")],
    picture: Annotated[
        Format, typer.Option("--format", help="Language of the picture.")
    ] = Format.MERMAID,
    execution: Annotated[
        str, typer.Option(help="Draw this execution: the states of its steps as colours.")
    ] = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Describe a workflow as a picture, for Mermaid or Graphviz."""
    request = pb.RenderWorkflowRequest(
        name=resource_name("workflows", name),
        format=pb.RenderWorkflowRequest.Format.Value(f"FORMAT_{picture.name}"),
        execution=resource_name("executions", execution) if execution else "",
    )
    perform(_graph(request, home), as_json=False)


def test(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML file; - is stdin.")],
    outputs: Annotated[
        Path | None,
        typer.Option(help="YAML file with the `answers` of agents and the `signals` that come."),
    ] = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="JSON file; - is stdin.")
    ] = None,
    input_json: Annotated[str | None, typer.Option(help="The input as JSON.")] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Run a definition with canned answers instead of agents; exit code 1 unless it succeeds."""
    perform(_test(file, outputs, read_input(input_file, input_json), home, json), as_json=json)


async def _graph(request: pb.RenderWorkflowRequest, home: Path) -> None:
    async with Services.at(home) as services:
        answer = await services.call(services.workflows.RenderWorkflow, request)
    console().print(plain(answer.text.rstrip()), soft_wrap=True)


async def _test(file: Path, outputs: Path | None, given: Struct, home: Path, json: bool) -> int:
    request = pb.TestWorkflowRequest(
        source=pb.DefinitionSource(yaml=read_definition(file)),
        input=given,
        canned=read_definition(outputs) if outputs is not None else "",
    )
    async with Services.at(home) as services:
        answer = await services.call(services.workflows.TestWorkflow, request)
    if json:
        print_json(as_json(answer))
    else:
        show(trial_view(answer))
    return 0 if answer.state == WorkflowExecution.STATE_SUCCEEDED else ExitCode.FAILED
