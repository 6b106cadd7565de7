"""How an endpoint fares: when it is spared, when it counts as failing, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from brikk_webhooks.domain.delivery import Outcome, Verdict

MOST_FAILURES = 10
"""In a row; from then on an endpoint is spared, and counts as failing."""
LONGEST_PAUSE = timedelta(minutes=5)

_FIRST_PAUSE = timedelta(seconds=1)


class Change(StrEnum):
    """What people are told of an endpoint."""

    FAILING = "failing"
    RECOVERED = "recovered"
    DISABLED = "disabled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """What the newest attempts say of an endpoint; a new one is that of an endpoint that works.

    It is a circuit breaker: open until `paused_until`, half open from then on, when one attempt at
    a time is let through, and closed by the first that succeeds.
    """

    failures: int = 0
    """In a row."""
    failing_since: datetime | None = None
    """When the first of them was logged,"""
    failed_at: datetime | None = None
    """and the last."""
    pauses: int = 0
    paused_until: datetime | None = None
    failing: bool = False
    """Whether people should know: many failures in a row, or a delivery that was given up."""
    gone: bool = False
    """It said that it will not come back."""

    def after(self, verdict: Verdict, *, probe: bool, now: datetime) -> Health:
        """Return the health after one more attempt.

        Attempts that were under way when a pause began change nothing of it; a probe does.
        """
        if verdict.outcome is Outcome.DELIVERED:
            return Health()
        failed = replace(
            self,
            failures=self.failures + 1,
            failing_since=self.failing_since or now,
            failed_at=now,
            failing=(
                self.failing
                or verdict.outcome is Outcome.FAILED
                or self.failures + 1 >= MOST_FAILURES
            ),
            gone=self.gone or verdict.gone,
        )
        paused = self.paused_until is not None and self.paused_until > now and not probe
        strained = verdict.strain is not None or verdict.gone
        if paused or not (probe or strained or failed.failures >= MOST_FAILURES):
            return failed
        pause = max(_FIRST_PAUSE * 2 ** min(self.pauses, 16), verdict.strain or timedelta())
        return replace(failed, pauses=self.pauses + 1, paused_until=now + min(pause, LONGEST_PAUSE))

    def since(self, change: datetime) -> Health:
        """Return what still counts after somebody changed the webhook: older failures do not."""
        if self.failed_at is None or self.failed_at < change:
            return Health()
        return replace(self, failing_since=max(self.failing_since or change, change))

    def hopeless(self, *, patience: timedelta) -> str:
        """Say why its webhook is to be disabled; empty when it is not.

        An endpoint that nobody called meanwhile has not failed meanwhile.
        """
        if self.gone:
            return "the endpoint answered 410: it is gone"
        if self.failed_at is None or self.failing_since is None:
            return ""
        failed_for = self.failed_at - self.failing_since
        return f"every attempt failed for {patience}" if failed_for >= patience else ""
