"""Chooses which agent a call goes to, and learns from what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from random import Random

from brikk_shared.clock import Clock
from brikk_shared.selection.option import Group, Option, Policy
from brikk_shared.selection.outcomes import Outcomes, OutcomeSum


class Selector:
    """One per process: what one call taught serves the next, whichever part of it calls.

    It belongs to one thread or event loop.

    Args:
        clock: tells the time.
        random: its seed decides the choices, so that tests repeat.
        zone: the caller's own failure domain, whose agents come first; empty when it has none.
        cost_weight: how much the declared price counts; 0 not at all, 1 as much as latency.
    """

    def __init__(
        self, *, clock: Clock, random: Random, zone: str = "", cost_weight: float = 0.5
    ) -> None:
        self._clock = clock
        self._random = random
        self._zone = zone
        self._cost_weight = cost_weight
        self._in_flight: Counter[tuple[str, str]] = Counter()
        self._outcomes = Outcomes()

    def choose(
        self,
        group: Group,
        options: Sequence[Option],
        *,
        policy: Policy = Policy.BEST,
        avoid: Collection[str] = (),
        affinity: str = "",
    ) -> Option | None:
        """Returns the option to call, or None when there are none.

        Pass the same tuple while nothing changed: it is then examined once, not at each call.

        Args:
            avoid: agents to be taken only when nobody else is there, for instance because they just
                failed.
            affinity: calls with the same key go to the same agent while it is fit; the policy
                then has no say.
        """
        pool = (
            [each for each in options if each.agent not in avoid and not each.suspect]
            or [each for each in options if each.agent not in avoid]
            or list(options)
        )
        if not pool:
            return None
        self._random.shuffle(pool)
        return min(
            pool, key=lambda each: self._in_flight[group.organization, each.agent] + each.in_flight
        )

    @contextmanager
    def calling(self, organization: str, agent: str) -> Iterator[None]:
        """Counts a call as in flight while the block runs."""
        key = (organization, agent)
        self._in_flight[key] += 1
        try:
            yield
        finally:
            self._in_flight[key] -= 1
            if not self._in_flight[key]:
                del self._in_flight[key]

    def settle(
        self,
        organization: str,
        agent: str,
        capability: str,
        *,
        succeeded: bool,
        latency: timedelta,
        quality: float | None = None,
    ) -> None:
        """Learns what became of a call. A call that the caller itself cancelled teaches nothing.

        Args:
            succeeded: False when it failed by the agent's fault: it was not reached, was too late,
                or answered with an error for which another agent may be tried.
            latency: from sending the call to its end.
            quality: how good the answer was, 0 to 1; None when the caller does not judge.
        """
        self._outcomes.add(
            organization,
            agent,
            capability,
            succeeded=succeeded,
            seconds=latency.total_seconds(),
            quality=quality,
        )

    def take_outcomes(self, limit: int = 500) -> list[OutcomeSum]:
        """Hands over what was learned since the last report: at most `limit` sums, each once.

        All are of one organisation, as a report speaks for one; empty when nothing is left.
        """
        return self._outcomes.take(limit)
