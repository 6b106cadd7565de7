"""Whether an input matches the schema of its workflow."""

from __future__ import annotations

from brikk_shared.errors import InvalidArgument, Reason
from brikk_shared.json_schema import Schema
from brikk_workflow.domain.payload import Json


def check_input(schema: Schema, value: Json, workflow: str) -> None:
    """Raise InvalidArgument, with every place that does not match, unless the input is accepted."""
    violations = schema.violations(value, "input")
    if violations:
        first, more = violations[0], len(violations) - 1
        raise InvalidArgument(
            Reason.INVALID_INPUT,
            f"The input does not match the schema of workflows/{workflow}: {first.field}"
            f" {first.description}" + (f" (and {more} more)" if more else ""),
            metadata={"workflow": f"workflows/{workflow}"},
            violations=violations,
        )
