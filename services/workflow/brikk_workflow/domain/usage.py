"""What the calls of an execution use, and when that is all they may."""

from __future__ import annotations

from dataclasses import dataclass

from brikk_workflow.domain.definition import Budget
from brikk_workflow.domain.failure import Failure, budget_exceeded


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What calls used, as the agents tell: tokens and millionths of the currency."""

    tokens: int = 0
    cost_micros: int = 0

    def __add__(self, more: Usage) -> Usage:
        return Usage(
            tokens=self.tokens + more.tokens, cost_micros=self.cost_micros + more.cost_micros
        )


NO_USAGE = Usage()


def left_of(budget: Budget, calls: int, usage: Usage) -> Budget:
    """Return what may still be used, at least nothing."""
    return Budget(
        calls=_left(budget.calls, calls),
        tokens=_left(budget.tokens, usage.tokens),
        cost_micros=_left(budget.cost_micros, usage.cost_micros),
    )


def tightest(one: Budget, other: Budget) -> Budget:
    """Return what both budgets allow."""
    return Budget(
        calls=_least(one.calls, other.calls),
        tokens=_least(one.tokens, other.tokens),
        cost_micros=_least(one.cost_micros, other.cost_micros),
    )


def _left(limit: int | None, used: int) -> int | None:
    return None if limit is None else max(0, limit - used)


def _least(one: int | None, other: int | None) -> int | None:
    limits = [each for each in (one, other) if each is not None]
    return min(limits) if limits else None


def used_up(budget: Budget, calls: int, usage: Usage) -> Failure | None:
    """Return why another call must not be made, None if something of each budget is left."""
    if budget.calls is not None and calls >= budget.calls:
        return budget_exceeded("calls", str(budget.calls))
    if budget.tokens is not None and usage.tokens >= budget.tokens:
        return budget_exceeded("tokens", str(budget.tokens))
    if budget.cost_micros is not None and usage.cost_micros >= budget.cost_micros:
        return budget_exceeded(
            "cost", f"{budget.cost_micros / 1_000_000:.6f}".rstrip("0").rstrip(".")
        )
    return None
