"""Whether calls keep to what agents say of their capabilities: the schemas of input and output."""

from __future__ import annotations

import json
from functools import lru_cache

import structlog

from brikk_shared.errors import Reason
from brikk_shared.json_schema import Schema, SchemaInvalid, compile_schema
from brikk_workflow.clients.work import Work
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json

log = structlog.get_logger()


def input_mismatch(work: Work, agent: str) -> Failure | None:
    """Why an agent would not take an input; another attempt would send the same."""
    if not work.input_schema:
        return None
    return _mismatch(
        work.input_schema,
        work.order.input,
        "input",
        code="INVALID_ARGUMENT",
        reason=Reason.INPUT_MISMATCH,
        problem=f"The input is not what {agent} takes for {work.order.capability}",
        metadata={"agent": agent, "capability": work.order.capability},
        retryable=False,
    )


def output_mismatch(work: Work, agent: str, output: Json) -> Failure | None:
    """Why an output is not what the agent promised; another attempt, or agent, may do better."""
    if not work.output_schema:
        return None
    return _mismatch(
        work.output_schema,
        output,
        "output",
        code="INTERNAL",
        reason=Reason.OUTPUT_MISMATCH,
        problem=f"{agent} did not answer what it promises for {work.order.capability}",
        metadata={"agent": agent, "capability": work.order.capability},
        retryable=True,
    )


def _mismatch(
    text: str,
    value: Json,
    name: str,
    *,
    code: str,
    reason: Reason,
    problem: str,
    metadata: dict[str, str],
    retryable: bool,
) -> Failure | None:
    schema = _compiled(text)
    violations = () if schema is None else schema.violations(value, name)
    if not violations:
        return None
    first, more = violations[0], len(violations) - 1
    return Failure(
        code=code,
        reason=reason,
        message=f"{problem}: {first.field} {first.description}"
        + (f" (and {more} more)" if more else ""),
        metadata={**metadata, "field": first.field},
        retryable=retryable,
    )


@lru_cache(maxsize=500)
def _compiled(text: str) -> Schema | None:
    """Compiles a schema; None for one that was registered before registrations were checked."""
    try:
        return compile_schema(json.loads(text))
    except SchemaInvalid as invalid:
        log.warning("schema of a capability is not checked", problem=str(invalid))
        return None
