"""A workflow definition with its defaults applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from brikk_workflow.domain.kinds import CallStep, Kind
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
    heartbeat: timedelta | None = None


class AtMostOnce(StrEnum):
    """What happens to a step when nobody knows whether the agent carried its call out."""

    FAIL = "fail"
    SUSPEND = "suspend"


class OnError(StrEnum):
    """What a step's failure does that nobody catches."""

    FAIL = "fail"
    CONTINUE = "continue"


@dataclass(frozen=True, kw_only=True, slots=True)
class Catch:
    """Steps that run when a step fails with one of the codes or reasons; empty `errors`: any.

    They read what happened as `steps.<id>.error`. When they succeed the step has SUCCEEDED, with
    the output of the last of them.
    """

    errors: tuple[str, ...] = ()
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Compensation:
    """The call that undoes a step which succeeded, when its execution fails or is cancelled."""

    call: CallStep
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: StepTimeout = field(default_factory=StepTimeout)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A step; `after` names all it waits for: "the step above" is resolved. Empty `when`: true.

    `join` is how many of those must have succeeded before it begins, None when all must be done.
    """

    id: str
    after: tuple[str, ...] = ()
    join: int | None = None
    when: str = ""
    kind: Kind
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: StepTimeout = field(default_factory=StepTimeout)
    at_most_once: AtMostOnce | None = None
    on_error: OnError = OnError.FAIL
    catch: tuple[Catch, ...] = ()
    compensate: Compensation | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What an execution may use, None where nothing bounds it."""

    calls: int | None = None
    tokens: int | None = None
    cost_micros: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowDefinition:
    """What a workflow does. Definitions that mean the same are equal, and so is their JSON.

    `concurrency` is how many of an organisation's executions run at once, None for any number.
    """

    id: str
    description: str = ""
    input_schema: Mapping[str, Json] | None = None
    timeout: timedelta = timedelta(days=1)
    budget: Budget = field(default_factory=Budget)
    concurrency: int | None = None
    steps: tuple[Step, ...]
    output: Json = None
