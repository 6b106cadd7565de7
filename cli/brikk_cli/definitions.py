"""Workflow definitions on their way from a file to the service."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from brikk.workflow.v1 import workflow_pb2, workflow_service_pb2
from brikk_cli.client import Services
from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.inputs import read_file
from brikk_shared.errors import NotFound
from brikk_shared.ids import new_id

Outcome = Literal["created", "updated", "unchanged"]


def read_definition(file: Path) -> str:
    """The YAML text of a file; CommandError when it cannot be read or is not UTF-8."""
    content = read_file(file)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        raise CommandError(
            f"{file}:{line}:{column}: not UTF-8 (byte 0x{content[error.start]:02x})",
            exit_code=ExitCode.USAGE,
        ) from None


async def check(services: Services, text: str) -> workflow_service_pb2.ValidateWorkflowResponse:
    """What the service thinks of a definition: its problems, or how it understands it."""
    source = workflow_service_pb2.DefinitionSource(yaml=text)
    request = workflow_service_pb2.ValidateWorkflowRequest(source=source)
    return await services.call(services.workflows.ValidateWorkflow, request)


async def store(
    services: Services, workflow_id: str, text: str
) -> tuple[workflow_pb2.Workflow, Outcome]:
    """Creates the workflow of a definition, or makes its next version when it differs."""
    source = workflow_service_pb2.DefinitionSource(yaml=text)
    name = f"workflows/{workflow_id}"
    try:
        before = await services.call(
            services.workflows.GetWorkflow, workflow_service_pb2.GetWorkflowRequest(name=name)
        )
    except NotFound:
        created = await services.call(
            services.workflows.CreateWorkflow,
            workflow_service_pb2.CreateWorkflowRequest(source=source, request_id=new_id()),
        )
        return created, "created"
    after = await services.call(
        services.workflows.UpdateWorkflow,
        workflow_service_pb2.UpdateWorkflowRequest(
            name=name, source=source, etag=before.etag, request_id=new_id()
        ),
    )
    same = after.latest_version == before.latest_version
    return after, "unchanged" if same else "updated"


def workflow_schema() -> dict[str, Any]:
    """The JSON Schema of the language, which `make schema` generates."""
    text = files("brikk_cli").joinpath("workflow.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
