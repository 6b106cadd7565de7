"""Workflow definitions between their message, their YAML and the domain."""

from __future__ import annotations

from collections.abc import Sequence

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


def accept_source(source: workflow_service_pb2.DefinitionSource) -> CompiledWorkflow:
    """Reads a definition.

    Raises:
        InvalidArgument: INVALID_WORKFLOW, with a violation for each problem.
    """
    workflow = read_source(source)
    if isinstance(workflow, list):
        raise refusal(Reason.INVALID_WORKFLOW, workflow)
    return workflow


def refusal(reason: Reason, problems: Sequence[Problem]) -> InvalidArgument:
    """Returns what tells of the problems of a text, each as a violation."""
    violations = [FieldViolation(each.path, _located(each)) for each in problems]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidArgument(
        reason,
        f"{violations[0].field}: {violations[0].description}{more}",
        metadata={"field": violations[0].field},
        violations=violations,
    )


def to_message(definition: WorkflowDefinition) -> workflow_pb2.WorkflowDefinition:
    """Returns the message of a definition, with its defaults spelt out."""
    message = workflow_pb2.WorkflowDefinition()
    fill(message, write_definition(definition))
    return message


def workflow_id_of(name: str) -> str:
    """Returns the last segment of `workflows/{workflow}`, whose form the contract has checked."""
    return name.split("/")[1]


def to_problem(problem: Problem) -> workflow_service_pb2.Problem:
    """Returns the message of a problem."""
    return workflow_service_pb2.Problem(
        path=problem.path, message=problem.message, line=problem.line, column=problem.column
    )


def _located(problem: Problem) -> str:
    if not problem.line:
        return problem.message
    return f"line {problem.line}, column {problem.column}: {problem.message}"
