"""Workflow definitions between their message, their YAML and the domain."""

from __future__ import annotations

from brikk.workflow.v1 import workflow_pb2, workflow_service_pb2
from brikk_shared.errors import FieldViolation, InvalidArgument, Reason, invalid_field
from brikk_workflow.api.plain import fill, to_plain
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.definition import WorkflowDefinition
from brikk_workflow.domain.reader import write_definition
from brikk_workflow.domain.source import Problem, read_message, read_yaml


def read_source(
    source: workflow_service_pb2.DefinitionSource,
) -> CompiledWorkflow | list[Problem]:
    """Reads a definition in either form, or tells everything that is wrong with it."""
    match source.WhichOneof("source"):
        case "yaml":
            return read_yaml(source.yaml)
        case "definition":
            return read_message(to_plain(source.definition))
        case _:
            raise invalid_field("source", "must hold yaml or a definition")


def accept_source(source: workflow_service_pb2.DefinitionSource) -> WorkflowDefinition:
    """Reads a definition.

    Raises:
        InvalidArgument: INVALID_WORKFLOW, with a violation for each problem.
    """
    workflow = read_source(source)
    if not isinstance(workflow, list):
        return workflow.definition
    violations = [FieldViolation(each.path, _located(each)) for each in workflow]
    more = f" (and {len(workflow) - 1} more)" if len(workflow) > 1 else ""
    raise InvalidArgument(
        Reason.INVALID_WORKFLOW,
        f"{violations[0].field}: {violations[0].description}{more}",
        metadata={"field": violations[0].field},
        violations=violations,
    )


def to_message(definition: WorkflowDefinition) -> workflow_pb2.WorkflowDefinition:
    """Returns the message of a definition, with its defaults spelt out."""
    message = workflow_pb2.WorkflowDefinition()
    fill(message, write_definition(definition))
    return message


def to_problem(problem: Problem) -> workflow_service_pb2.Problem:
    """Returns the message of a problem."""
    return workflow_service_pb2.Problem(
        path=problem.path, message=problem.message, line=problem.line, column=problem.column
    )


def _located(problem: Problem) -> str:
    if not problem.line:
        return problem.message
    return f"line {problem.line}, column {problem.column}: {problem.message}"
