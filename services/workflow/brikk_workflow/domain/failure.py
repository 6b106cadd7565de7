"""Why a step or an execution failed, in the words of `google.rpc.Status` and ErrorInfo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from brikk_shared.errors import BrikkError, Reason
from brikk_workflow.domain.duration import format_duration
from brikk_workflow.domain.payload import scrub

MAX_METADATA = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A failure as it is stored and shown; its texts are scrubbed, whoever wrote them.

    `code` is the canonical gRPC code. `metadata` holds what `brikk.error.v1.ErrorReason` promises
    for the reason; a reason that the agent itself gave stands there as `agent_reason`.
    `retryable` is what the agent said about another attempt, None if it said nothing.
    """

    code: str
    reason: Reason
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    retryable: bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", scrub(self.message))
        metadata = list(self.metadata.items())[:MAX_METADATA]
        object.__setattr__(self, "metadata", {scrub(key): scrub(text) for key, text in metadata})

    @property
    def own_reason(self) -> str:
        """What its author calls it: the reason of an agent or of a workflow, if there is one."""
        metadata = self.metadata
        return metadata.get("agent_reason") or metadata.get("fail_reason") or self.reason.value

    @property
    def names(self) -> frozenset[str]:
        """What retries and catches know it by."""
        return frozenset((self.code, self.reason.value, self.own_reason))

    @classmethod
    def of(cls, error: BrikkError) -> Failure:
        """Return the failure that an error stands for."""
        return cls(
            code=error.code, reason=error.reason, message=error.message, metadata=error.metadata
        )


def step_failed(step_id: str, failure: Failure) -> Failure:
    """An execution fails because a step did."""
    return Failure(
        code=failure.code,
        reason=Reason.STEP_FAILED,
        message=f"Step {step_id} failed: {failure.message}",
        metadata={"step": step_id},
    )


def carried(path: str, failure: Failure) -> Failure:
    """A step fails because one inside it did, with its code and reason."""
    return replace(
        failure,
        message=f"Step {path} failed: {failure.message}",
        metadata={"step": path, **failure.metadata},
        retryable=None,
    )


def failed_by_author(reason: str, message: str) -> Failure:
    """A `fail` step was reached."""
    return Failure(
        code="FAILED_PRECONDITION",
        reason=Reason.FAIL_STEP,
        message=message or f"The workflow fails with {reason}",
        metadata={"fail_reason": reason},
        retryable=False,
    )


def loop_limit(limit: int) -> Failure:
    """A loop would go on beyond its `max_iterations`."""
    return Failure(
        code="OUT_OF_RANGE",
        reason=Reason.LOOP_LIMIT,
        message=f"The loop did not end within {limit} iterations",
        metadata={"limit": str(limit)},
    )


def signal_timeout(name: str, limit: timedelta) -> Failure:
    """A signal did not come in time."""
    return Failure(
        code="DEADLINE_EXCEEDED",
        reason=Reason.SIGNAL_TIMEOUT,
        message=f"No signal {name} came within {format_duration(limit)}",
        metadata={"signal": name},
    )


def state_conflict(expected: str, version: int) -> Failure:
    """The shared state does not have the version that a `set` step expects."""
    return Failure(
        code="ABORTED",
        reason=Reason.STATE_CONFLICT,
        message=f"The state has version {version}, not {expected}",
        metadata={"version": str(version)},
    )


def child_failed(execution: str, failure: Failure | None) -> Failure:
    """A step fails because the execution that it ran did, with its code and reason."""
    if failure is None:  # it has ended, and not well: there is one
        return Failure(code="UNKNOWN", reason=Reason.STEP_FAILED, message=f"{execution} failed")
    return replace(
        failure,
        message=f"{execution} failed: {failure.message}",
        metadata={**failure.metadata, "execution": execution},
        retryable=False,
    )


def too_deep(limit: int) -> Failure:
    """Executions would run one another too deep."""
    return Failure(
        code="FAILED_PRECONDITION",
        reason=Reason.NESTED_TOO_DEEP,
        message=f"Workflows run one another at most {limit} deep",
        metadata={"limit": str(limit)},
        retryable=False,
    )


def too_many(what: str, count: int, limit: int) -> Failure:
    """A list is longer than it may be."""
    return Failure(
        code="INVALID_ARGUMENT",
        reason=Reason.PAYLOAD_TOO_LARGE,
        message=f"{what} has {count} items; at most {limit} are allowed",
        metadata={"limit": str(limit)},
    )


def step_timeout(name: str, limit: timedelta) -> Failure:
    """A step ran into its timeout of this name: `start_to_close` or `schedule_to_close`."""
    return Failure(
        code="DEADLINE_EXCEEDED",
        reason=Reason.STEP_TIMEOUT,
        message=f"The step did not end within its {name} of {format_duration(limit)}",
        metadata={"timeout": name},
    )


def outcome_unknown(step_id: str, agent: str, cause: str) -> Failure:
    """A call that may be made only once got no answer; `cause` says why."""
    return Failure(
        code="UNKNOWN",
        reason=Reason.OUTCOME_UNKNOWN,
        message=f"Nobody knows whether the call of step {step_id} was carried out: {cause}",
        metadata={"step": step_id, "agent": agent},
        retryable=False,
    )


def budget_exceeded(budget: str, limit: str) -> Failure:
    """An execution has used up its budget of `calls`, `tokens` or `cost`."""
    return Failure(
        code="RESOURCE_EXHAUSTED",
        reason=Reason.BUDGET_EXCEEDED,
        message=f"The execution has used up its budget ({budget}: {limit})",
        metadata={"budget": budget, "limit": limit},
    )


def no_agent(capability: str, limit: timedelta) -> Failure:
    """A step waited for an agent until schedule_to_start."""
    return Failure(
        code="UNAVAILABLE",
        reason=Reason.NO_AGENT,
        message=f"No live agent offered {capability} within {format_duration(limit)}",
        metadata={"capability": capability},
    )


def agent_gone(agent: str, capability: str) -> Failure:
    """A call that one agent alone was to answer cannot be made: it has left."""
    return Failure(
        code="UNAVAILABLE",
        reason=Reason.NO_AGENT,
        message=f"{agent} does not offer {capability} any more",
        metadata={"capability": capability, "agent": agent},
    )


def no_bids(capability: str, limit: timedelta) -> Failure:
    """Nobody who was asked for a bid made one."""
    return Failure(
        code="UNAVAILABLE",
        reason=Reason.NO_AGENT,
        message=f"No agent bid for {capability} within {format_duration(limit)}",
        metadata={"capability": capability},
    )


def execution_timeout(limit: timedelta) -> Failure:
    """An execution ran into its workflow's timeout."""
    return Failure(
        code="DEADLINE_EXCEEDED",
        reason=Reason.EXECUTION_TIMEOUT,
        message=f"The execution did not end within {format_duration(limit)}",
    )


def cancelled(reason: str) -> Failure:
    """An execution was cancelled by someone who may have said why."""
    return _stopped(reason or "The execution was cancelled")


def terminated(reason: str) -> Failure:
    """An execution was terminated by someone who may have said why."""
    return _stopped(reason or "The execution was terminated")


def _stopped(message: str) -> Failure:
    return Failure(code="CANCELLED", reason=Reason.CANCELLED, message=message)
