"""A workflow definition with its defaults applied, and the JSON form in which it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NotRequired, TypedDict

from brikk_shared.selection import Policy
from brikk_workflow.domain.payload import Json


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """Exponential backoff; the defaults are those of `brikk.workflow.v1.RetryPolicy`."""

    max_attempts: int = 3
    initial: timedelta = timedelta(milliseconds=200)
    multiplier: float = 2.0
    max: timedelta = timedelta(seconds=30)
    jitter: float = 0.2
    non_retryable: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimeout:
    """How long a step may take; the defaults are those of `brikk.workflow.v1.StepTimeout`."""

    schedule_to_start: timedelta = timedelta(minutes=1)
    start_to_close: timedelta = timedelta(seconds=30)
    schedule_to_close: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CallStep:
    """Calls one live agent that has the capability; strings of `input` may hold expressions."""

    capability: str
    input: Mapping[str, Json] = field(default_factory=dict)
    policy: Policy = Policy.BEST


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A step; `after` names all it waits for: "the step above" is resolved. Empty `when`: true."""

    id: str
    after: tuple[str, ...] = ()
    when: str = ""
    call: CallStep
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: StepTimeout = field(default_factory=StepTimeout)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowDefinition:
    """What a workflow does. Definitions that mean the same are equal, and so is their JSON."""

    id: str
    description: str = ""
    input_schema: Mapping[str, Json] | None = None
    timeout: timedelta = timedelta(days=1)
    steps: tuple[Step, ...]
    output: Json = None


class _RetryJson(TypedDict):
    max_attempts: int
    initial: int
    multiplier: float
    max: int
    jitter: float
    non_retryable: list[str]


class _TimeoutJson(TypedDict):
    schedule_to_start: int
    start_to_close: int
    schedule_to_close: int | None


class _StepJson(TypedDict):
    id: str
    after: list[str]
    when: str
    capability: str
    input: Mapping[str, Json]
    policy: NotRequired[str]
    retry: _RetryJson
    timeout: _TimeoutJson


class DefinitionJson(TypedDict):
    """The stored form; durations are whole microseconds."""

    id: str
    description: str
    input_schema: Mapping[str, Json] | None
    timeout: int
    steps: list[_StepJson]
    output: Json


def definition_to_json(definition: WorkflowDefinition) -> DefinitionJson:
    """Return the stored form, which `json.dumps` takes as it is."""
    return DefinitionJson(
        id=definition.id,
        description=definition.description,
        input_schema=definition.input_schema,
        timeout=_microseconds(definition.timeout),
        steps=[_step_to_json(step) for step in definition.steps],
        output=definition.output,
    )


def definition_from_json(stored: DefinitionJson) -> WorkflowDefinition:
    """Return the definition that `definition_to_json` was given; it is not checked again."""
    return WorkflowDefinition(
        id=stored["id"],
        description=stored["description"],
        input_schema=stored["input_schema"],
        timeout=timedelta(microseconds=stored["timeout"]),
        steps=tuple(_step_from_json(step) for step in stored["steps"]),
        output=stored["output"],
    )


def _step_to_json(step: Step) -> _StepJson:
    retry, timeout = step.retry, step.timeout
    close = timeout.schedule_to_close
    json = _StepJson(
        id=step.id,
        after=list(step.after),
        when=step.when,
        capability=step.call.capability,
        input=step.call.input,
        retry=_RetryJson(
            max_attempts=retry.max_attempts,
            initial=_microseconds(retry.initial),
            multiplier=retry.multiplier,
            max=_microseconds(retry.max),
            jitter=retry.jitter,
            non_retryable=list(retry.non_retryable),
        ),
        timeout=_TimeoutJson(
            schedule_to_start=_microseconds(timeout.schedule_to_start),
            start_to_close=_microseconds(timeout.start_to_close),
            schedule_to_close=None if close is None else _microseconds(close),
        ),
    )
    # Left out at its default, so that definitions stored before there were policies stay equal.
    if step.call.policy is not Policy.BEST:
        json["policy"] = step.call.policy.value
    return json


def _step_from_json(stored: _StepJson) -> Step:
    retry, timeout = stored["retry"], stored["timeout"]
    close = timeout["schedule_to_close"]
    return Step(
        id=stored["id"],
        after=tuple(stored["after"]),
        when=stored["when"],
        call=CallStep(
            capability=stored["capability"],
            input=stored["input"],
            policy=Policy(stored.get("policy", Policy.BEST)),
        ),
        retry=RetryPolicy(
            max_attempts=retry["max_attempts"],
            initial=timedelta(microseconds=retry["initial"]),
            multiplier=retry["multiplier"],
            max=timedelta(microseconds=retry["max"]),
            jitter=retry["jitter"],
            non_retryable=tuple(retry["non_retryable"]),
        ),
        timeout=StepTimeout(
            schedule_to_start=timedelta(microseconds=timeout["schedule_to_start"]),
            start_to_close=timedelta(microseconds=timeout["start_to_close"]),
            schedule_to_close=None if close is None else timedelta(microseconds=close),
        ),
    )


def _microseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
