"""What a handler may know about the call it serves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta


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

    @property
    def remaining(self) -> timedelta | None:
        """How long the caller will still wait; None when it set no deadline."""
        if self.ends is None:
            return None
        return timedelta(seconds=max(0.0, self.ends - time.monotonic()))
