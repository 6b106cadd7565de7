"""Sums of what calls taught, kept until they are reported to the registry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

SUMS_KEPT = 100_000
"""Sums waiting to be reported; past that the oldest organisation's are dropped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomeSum:
    """What became of the calls to one agent at one capability since the last report."""

    organization: str
    agent: str
    """`agents/x`."""
    capability: str
    successes: int
    failures: int
    latency: timedelta
    """Mean of all calls, failed ones included."""
    quality: float | None
    """Mean of those that were judged, 0 to 1; None when none was."""


@dataclass(kw_only=True, slots=True)
class _Sum:
    successes: int = 0
    failures: int = 0
    seconds: float = 0.0
    judged: int = 0
    quality: float = 0.0


class Outcomes:
    """The sums, by organisation: a report speaks for one organisation."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[tuple[str, str], _Sum]] = {}
        self._count = 0

    def add(
        self,
        organization: str,
        agent: str,
        capability: str,
        *,
        succeeded: bool,
        seconds: float,
        quality: float | None,
    ) -> None:
        """Counts one call."""
        sums = self._sums.get(organization)
        if sums is None:
            sums = self._sums[organization] = {}
        found = sums.get((agent, capability))
        if found is None:
            found = sums[agent, capability] = _Sum()
            self._count += 1
        if succeeded:
            found.successes += 1
        else:
            found.failures += 1
        found.seconds += seconds
        if quality is not None:
            found.judged += 1
            found.quality += quality
        if self._count > SUMS_KEPT:
            self._count -= len(self._sums.pop(next(iter(self._sums))))

    def take(self, limit: int) -> list[OutcomeSum]:
        """Hands over at most `limit` sums, all of one organisation; empty when none is left."""
        if not self._sums:
            return []
        organization, sums = next(iter(self._sums.items()))
        taken = [
            OutcomeSum(
                organization=organization,
                agent=agent,
                capability=capability,
                successes=each.successes,
                failures=each.failures,
                latency=timedelta(seconds=each.seconds / (each.successes + each.failures)),
                quality=each.quality / each.judged if each.judged else None,
            )
            for (agent, capability), each in list(sums.items())[:limit]
        ]
        for each in taken:
            del sums[each.agent, each.capability]
        self._count -= len(taken)
        # The rest waits its turn behind the other organisations.
        del self._sums[organization]
        if sums:
            self._sums[organization] = sums
        return taken
