"""What a handler may know about the call it serves, and tell its caller while it works."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta

from brikk_agent.errors import CallCancelled
from brikk_agent.line import Line, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The call under way; a handler that declares a parameter of this type receives it.

    `idempotency_key` is the same for all attempts of a step: a handler with side effects
    deduplicates by it, because a call may be repeated after a crash. `traceparent` is the W3C trace
    context of the execution, empty when there is none.
    """

    capability: str = ""
    execution: str = ""
    step: str = ""
    attempt: int = 1
    idempotency_key: str = ""
    traceparent: str = ""
    ends: float | None = None  # by time.monotonic(), so that a step of the wall clock does no harm
    line: Line = field(default_factory=Line, repr=False, compare=False)  # without one, to nobody

    @property
    def remaining(self) -> timedelta | None:
        """How long the caller will still wait; None when it set no deadline."""
        if self.ends is None:
            return None
        return timedelta(seconds=max(0.0, self.ends - time.monotonic()))

    @property
    def usage(self) -> Usage:
        """What the call used up until now."""
        return self.line.usage

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more."""
        return self.line.cancelled

    def use(self, *, tokens: int = 0, cost_micros: int = 0, model: str = "") -> None:
        """Adds to what the call used up, which counts against the budget of its execution.

        `tokens` are those that a language model read and wrote, `cost_micros` is their price in
        millionths of the currency that the organisation counts in. The sums are told with the
        answer, also when the handler fails after it; `model` is the one that was named last. Raises
        ValueError for numbers that are negative or make a sum larger than 10^12.
        """
        self.line.use(tokens, cost_micros, model)

    def heartbeat(self) -> None:
        """Tells the caller that the work goes on: a step may limit how long an agent is silent.

        Call it as often as is handy; only as many are sent as the caller needs. Raises
        CallCancelled once nobody waits for the result, which ends a handler in a thread as well.
        """
        self._look()
        self.line.heartbeat()

    def progress(self, fraction: float, message: str = "") -> None:
        """Tells how far the work has come, from 0 to 1, and what it is at, for people who watch.

        It is a heartbeat, too, and like one may be called as often as is handy: the newest is sent,
        once a second. Callers keep 200 characters of the message. Raises CallCancelled like
        `heartbeat`, and ValueError for another fraction.
        """
        self._look()
        self.line.tell(fraction, message)

    def _look(self) -> None:
        if self.line.cancelled:
            raise CallCancelled
