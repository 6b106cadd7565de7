"""What a handler says while it works; it may run in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

# As the contract bounds it.
_MAX_USAGE = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a call used up: tokens of language models, their price in millionths of the currency
    that the organisation counts in, and the model that was asked last.
    """

    tokens: int = 0
    cost_micros: int = 0
    model: str = ""


NOTHING = Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a call has come: the share that is done, 0 to 1, and what it is at, for people."""

    fraction: float
    message: str


class Line:
    """From the handler of one call to its caller, from any thread.

    `beat` is called at most every `interval` seconds; without it, nobody listens for heartbeats.
    `news` is called when there is progress to take, and not again before it was taken; without it,
    nobody wants to know.
    """

    __slots__ = (
        "_beat",
        "_interval",
        "_lock",
        "_news",
        "_next",
        "_progress",
        "cancelled",
        "usage",
    )

    def __init__(
        self,
        beat: Callable[[], object] | None = None,
        interval: float = 0.0,
        *,
        news: Callable[[], object] | None = None,
    ) -> None:
        self._beat = beat
        self._interval = interval
        self._next = 0.0
        self._news = news
        self._progress: Progress | None = None
        self._lock = Lock()
        self.usage = NOTHING
        self.cancelled = False

    def use(self, tokens: int, cost_micros: int, model: str) -> None:
        """Adds to the usage."""
        with self._lock:  # a handler may spread its work over threads
            before = self.usage
            used = Usage(
                tokens=before.tokens + tokens,
                cost_micros=before.cost_micros + cost_micros,
                model=model or before.model,
            )
            if min(tokens, cost_micros) < 0:
                raise ValueError("usage cannot be negative")
            if max(used.tokens, used.cost_micros) > _MAX_USAGE:
                raise ValueError(f"usage cannot exceed {_MAX_USAGE}")
            self.usage = used

    def tell(self, fraction: float, message: str) -> None:
        """Tells how far the work has come, instead of what was told and not yet taken."""
        if not 0 <= fraction <= 1:
            raise ValueError("progress is a fraction from 0 to 1")
        if self._news is not None:
            with self._lock:
                known = self._progress is not None
                self._progress = Progress(fraction=fraction, message=message)
            if not known:
                self._news()
        self.heartbeat()

    def take_progress(self) -> Progress | None:
        """Gives what was last told, once."""
        with self._lock:
            progress, self._progress = self._progress, None
        return progress

    def heartbeat(self) -> None:
        """Beats, unless that would be too often."""
        if self._beat is not None and (now := time.monotonic()) >= self._next:
            self._next = now + self._interval
            self._beat()
