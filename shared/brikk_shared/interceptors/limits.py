"""How much one caller, and all of them together, may ask of this process."""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta

from brikk_shared.clock import Clock
from brikk_shared.errors import Reason, ResourceExhausted
from brikk_shared.identity import Identity

MAX_BUCKETS = 10_000
_BUSY_PAUSE = timedelta(seconds=1)


class Limits:
    """A token bucket per organisation and principal, and the number of calls under way.

    Services are not limited by rate: what they send is limited where it came from.
    """

    def __init__(self, clock: Clock, *, rate: float, burst: int, max_calls: int) -> None:
        """`rate` in calls per second."""
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._max_calls = max_calls
        self._calls = 0
        # Tokens left, and when they were counted. The least recently used bucket is forgotten; it
        # is then full again, which it had most likely become by itself.
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def enter(self) -> None:
        """Count a call in; ResourceExhausted when there are as many as the process takes."""
        if self._calls >= self._max_calls:
            raise ResourceExhausted(
                Reason.RATE_LIMITED,
                "the server has as many calls under way as it takes",
                metadata={"quota": "concurrent_calls"},
                retry_after=_BUSY_PAUSE,
            )
        self._calls += 1

    def leave(self) -> None:
        """Count a call out that `enter` let in."""
        self._calls -= 1

    def spend(self, identity: Identity) -> None:
        """Take a token; ResourceExhausted with the time to wait when there is none."""
        if identity.internal:
            return
        key = (identity.organization, identity.subject)
        now = self._clock.monotonic()
        left, counted = self._buckets.get(key, (float(self._burst), now))
        left = min(left + (now - counted) * self._rate, float(self._burst))
        if left < 1.0:
            raise ResourceExhausted(
                Reason.RATE_LIMITED,
                "too many calls",
                metadata={"quota": "calls_per_second"},
                retry_after=timedelta(seconds=(1.0 - left) / self._rate),
            )
        self._buckets[key] = (left - 1.0, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
