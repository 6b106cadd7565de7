"""Workflow definitions between their message, their YAML and the domain."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from google.protobuf import duration_pb2

from brikk.workflow.v1 import workflow_pb2, workflow_service_pb2
from brikk_shared.errors import FieldViolation, InvalidArgument, Reason, invalid_field
from brikk_shared.selection import Policy
from brikk_shared.structs import from_struct, from_value, to_struct, to_value
from brikk_workflow.api.times import to_duration
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.definition import AtMostOnce, Budget, Step, WorkflowDefinition
from brikk_workflow.domain.source import Problem, read_message, read_yaml

_POLICIES = {
    Policy.BEST: workflow_pb2.CallStep.POLICY_BEST,
    Policy.LEAST_IN_FLIGHT: workflow_pb2.CallStep.POLICY_LEAST_IN_FLIGHT,
    Policy.ROUND_ROBIN: workflow_pb2.CallStep.POLICY_ROUND_ROBIN,
    Policy.RANDOM: workflow_pb2.CallStep.POLICY_RANDOM,
}
_AT_MOST_ONCE = {
    None: workflow_pb2.WorkflowStep.AT_MOST_ONCE_UNSPECIFIED,
    AtMostOnce.FAIL: workflow_pb2.WorkflowStep.AT_MOST_ONCE_FAIL,
    AtMostOnce.SUSPEND: workflow_pb2.WorkflowStep.AT_MOST_ONCE_SUSPEND,
}


def read_source(
    source: workflow_service_pb2.DefinitionSource,
) -> CompiledWorkflow | list[Problem]:
    """Reads a definition in either form, or tells everything that is wrong with it."""
    match source.WhichOneof("source"):
        case "yaml":
            return read_yaml(source.yaml)
        case "definition":
            return read_message(_to_plain(source.definition))
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
    message = workflow_pb2.WorkflowDefinition(
        workflow_id=definition.id,
        description=definition.description,
        timeout=to_duration(definition.timeout),
        budget=_to_budget_message(definition.budget),
        concurrency=definition.concurrency or 0,
        steps=[_to_step_message(step) for step in definition.steps],
    )
    if definition.input_schema is not None:
        message.input_schema.CopyFrom(to_struct(definition.input_schema))
    if definition.output is not None:
        message.output.CopyFrom(to_value(definition.output))
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


def _to_budget_message(budget: Budget) -> workflow_pb2.Budget | None:
    if budget == Budget():
        return None
    return workflow_pb2.Budget(
        calls=budget.calls or 0,
        tokens=budget.tokens or 0,
        cost=(budget.cost_micros or 0) / 1_000_000,
    )


def _to_step_message(step: Step) -> workflow_pb2.WorkflowStep:
    retry, timeout = step.retry, step.timeout
    return workflow_pb2.WorkflowStep(
        step_id=step.id,
        after=workflow_pb2.Dependencies(step_ids=step.after),
        when=step.when,
        call=workflow_pb2.CallStep(
            capability=step.call.capability,
            input=to_struct(step.call.input),
            policy=_POLICIES[step.call.policy],
        ),
        retry=workflow_pb2.RetryPolicy(
            max_attempts=retry.max_attempts,
            initial=to_duration(retry.initial),
            multiplier=retry.multiplier,
            max=to_duration(retry.max),
            jitter=retry.jitter,
            non_retryable=retry.non_retryable,
        ),
        timeout=workflow_pb2.StepTimeout(
            schedule_to_start=to_duration(timeout.schedule_to_start),
            start_to_close=to_duration(timeout.start_to_close),
            schedule_to_close=_optional_duration(timeout.schedule_to_close),
            heartbeat=_optional_duration(timeout.heartbeat),
        ),
        at_most_once=_AT_MOST_ONCE[step.at_most_once],
    )


def _to_plain(message: workflow_pb2.WorkflowDefinition) -> Mapping[str, object]:
    """Returns a definition in the shape of its YAML; what is unset in the message is absent."""
    plain: dict[str, object] = {"name": message.workflow_id}
    if message.description:
        plain["description"] = message.description
    if message.HasField("input_schema"):
        plain["input_schema"] = from_struct(message.input_schema)
    if message.HasField("timeout"):
        plain["timeout"] = message.timeout.ToTimedelta()
    if message.HasField("budget"):
        budget = message.budget
        plain["budget"] = {
            name: bound
            for name, bound in (
                ("calls", budget.calls),
                ("tokens", budget.tokens),
                ("cost", budget.cost),
            )
            if bound
        }
    if message.concurrency:
        plain["concurrency"] = message.concurrency
    plain["steps"] = [_to_plain_step(step) for step in message.steps]
    if message.HasField("output"):
        plain["output"] = from_value(message.output)
    return plain


def _to_plain_step(message: workflow_pb2.WorkflowStep) -> Mapping[str, object]:
    plain: dict[str, object] = {"id": message.step_id}
    if message.HasField("after"):
        plain["after"] = list(message.after.step_ids)
    if message.when:
        plain["when"] = message.when
    if message.HasField("call"):
        call: dict[str, object] = {"capability": message.call.capability}
        if message.call.HasField("input"):
            call["input"] = from_struct(message.call.input)
        if message.call.policy:
            call["policy"] = _to_plain_policy(message.call.policy)
        plain["call"] = call
    if message.HasField("retry"):
        plain["retry"] = _to_plain_retry(message.retry)
    if message.HasField("timeout"):
        plain["timeout"] = {
            name: duration.ToTimedelta()
            for name, duration in (
                ("schedule_to_start", message.timeout.schedule_to_start),
                ("start_to_close", message.timeout.start_to_close),
                ("schedule_to_close", message.timeout.schedule_to_close),
                ("heartbeat", message.timeout.heartbeat),
            )
            if duration.ByteSize()
        }
    if message.at_most_once:
        words = {each: word for word, each in _AT_MOST_ONCE.items()}
        plain["at_most_once"] = words.get(message.at_most_once, f"word {message.at_most_once}")
    return plain


def _to_plain_policy(number: workflow_pb2.CallStep.Policy.ValueType) -> str:
    """Returns the word for a policy; for one of a newer contract, what is then refused."""
    words = {each: policy.value for policy, each in _POLICIES.items()}
    return words.get(number, f"policy {number}")


def _to_plain_retry(message: workflow_pb2.RetryPolicy) -> Mapping[str, object]:
    plain: dict[str, object] = {}
    if message.max_attempts:
        plain["max_attempts"] = message.max_attempts
    if message.HasField("initial"):
        plain["initial"] = message.initial.ToTimedelta()
    if message.multiplier:
        plain["multiplier"] = message.multiplier
    if message.HasField("max"):
        plain["max"] = message.max.ToTimedelta()
    if message.HasField("jitter"):
        plain["jitter"] = message.jitter
    if message.non_retryable:
        plain["non_retryable"] = list(message.non_retryable)
    return plain


def _optional_duration(duration: timedelta | None) -> duration_pb2.Duration | None:
    return None if duration is None else to_duration(duration)
