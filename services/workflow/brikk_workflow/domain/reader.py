"""Between a definition and the members that its two forms share, which durations are part of."""

from __future__ import annotations

from collections.abc import Mapping

from brikk_workflow.domain.definition import WorkflowDefinition
from brikk_workflow.domain.language import DEFINITION
from brikk_workflow.domain.problems import Report


def read_definition(raw: object, report: Report) -> WorkflowDefinition | None:
    """Return the definition, None if it has no steps; what is wrong is reported and has a default.

    A step without an acceptable id has the empty one.
    """
    members = DEFINITION.members(raw, (), report)
    return WorkflowDefinition(**members) if members and members["steps"] else None


def write_definition(definition: WorkflowDefinition) -> Mapping[str, object]:
    """Return what is read as the definition, with its defaults spelt out."""
    return DEFINITION.write(definition)
