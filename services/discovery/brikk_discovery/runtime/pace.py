"""How often agents beat here, and the intervals that keep it bearable."""

from __future__ import annotations

from collections import OrderedDict

from brikk_discovery.domain.agent import AgentKey
from brikk_discovery.domain.terms import Terms
from brikk_shared.clock import Clock

# A heartbeat comes up to a tenth late by its jitter, and a little later by its way here.
_LATE = 1.25


class Pace:
    """Counts the agents that beat at this replica, and stretches the terms when they are too many.

    Args:
        terms: the intervals while there is no need to stretch them.
        max_beats_per_second: most that this replica is to take.
    """

    def __init__(self, terms: Terms, *, max_beats_per_second: int, clock: Clock) -> None:
        self.terms = terms
        self._unstretched = terms
        self._max_beats_per_second = max_beats_per_second
        self._clock = clock
        # When each was heard here, the longest unheard first.
        self._heard: OrderedDict[AgentKey, float] = OrderedDict()

    def heard(self, key: AgentKey) -> None:
        """Count an agent that beat here."""
        self._heard[key] = self._clock.monotonic()
        self._heard.move_to_end(key)

    def settle(self) -> None:
        """Judge anew how far the terms must be stretched; to be called now and then."""
        interval = self.terms.heartbeat_interval.total_seconds()
        since = self._clock.monotonic() - _LATE * interval
        while self._heard and next(iter(self._heard.values())) < since:
            self._heard.popitem(last=False)
        self.terms = self._unstretched.stretched(
            len(self._heard), max_beats_per_second=self._max_beats_per_second
        )
