"""`brikk execution start-batch`: starting many executions from the lines of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf import json_format

from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_cli.batch_view import starts_table
from brikk_cli.client import Services
from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.inputs import read_file
from brikk_cli.options import DEFAULT_HOME, HomeOption, JsonOption, resource_name
from brikk_cli.render import as_json, print_json, show
from brikk_cli.session import perform
from brikk_shared.ids import new_id

_MOST = 1000
_MOST_BYTES = 2_000_000


def start_batch(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help='A JSON object per line, e.g. {"input": {"n": 1}, "labels": {"team": "a"}, '
            '"priority": 7, "request_id": "n-1"}; - is stdin.',
        ),
    ],
    workflow: Annotated[
        str, typer.Option(help="What to run where a line does not say: ID of the workflow.")
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Start an execution for each line of a file; exit code 1 unless all are started."""
    perform(_start(file, workflow, home, json), as_json=json)


async def _start(file: Path, workflow: str, home: Path, json: bool) -> int:
    requests = list(_requests(file, workflow))
    results: list[pb.BatchStartResult] = []
    async with Services.at(home) as services:
        for batch in _batches(requests):
            answer = await services.call(
                services.executions.BatchStartExecutions,
                pb.BatchStartExecutionsRequest(requests=batch),
            )
            results += answer.results
    if json:
        print_json({"results": [as_json(each) for each in results]})
    else:
        show(starts_table(results))
    failed = any(each.HasField("error") for each in results)
    return ExitCode.FAILED if failed else 0


def _requests(file: Path, workflow: str) -> Iterator[pb.StartExecutionRequest]:
    for number, line in enumerate(read_file(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            request = json_format.Parse(line, pb.StartExecutionRequest())
        except (ValueError, RecursionError, json_format.ParseError) as error:
            raise CommandError(f"{file}:{number}: {error}", exit_code=ExitCode.USAGE) from None
        if not request.workflow and not workflow:
            raise CommandError(
                f"{file}:{number}: names no workflow; give --workflow", exit_code=ExitCode.USAGE
            )
        request.workflow = resource_name("workflows", request.workflow or workflow)
        request.request_id = request.request_id or new_id()
        yield request


def _batches(
    requests: Sequence[pb.StartExecutionRequest],
) -> Iterator[list[pb.StartExecutionRequest]]:
    """As many in one call as it may take."""
    batch: list[pb.StartExecutionRequest] = []
    size = 0
    for request in requests:
        if batch and (len(batch) == _MOST or size + request.ByteSize() > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += request.ByteSize()
    if batch:
        yield batch
