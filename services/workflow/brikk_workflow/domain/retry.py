"""When a failed attempt is repeated, and after which wait."""

from __future__ import annotations

from datetime import timedelta

from brikk_workflow.domain.definition import RetryPolicy
from brikk_workflow.domain.failure import Failure

# The codes of which gRPC's guide says that the same call would fail again.
PERMANENT_CODES = frozenset(
    {
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
    }
)


def may_retry(failure: Failure, policy: RetryPolicy) -> bool:
    """Tell whether another attempt follows: the policy decides, then the agent, then the code."""
    return failure.names.isdisjoint(policy.non_retryable) and is_retryable(failure)


def is_retryable(failure: Failure) -> bool:
    """Tell whether another attempt may help, and another agent had perhaps not failed."""
    if failure.retryable is not None:
        return failure.retryable
    return failure.code not in PERMANENT_CODES


def backoff(policy: RetryPolicy, attempt: int, fraction: float) -> timedelta:
    """Return the wait after the given attempt, from 1; `fraction` in [0, 1) places the jitter."""
    longest = policy.max.total_seconds()
    try:
        wait = policy.initial.total_seconds() * policy.multiplier ** (attempt - 1)
    except OverflowError:
        wait = longest
    spread = 1.0 + policy.jitter * (2.0 * fraction - 1.0)
    return timedelta(seconds=min(wait, longest) * spread)
