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
