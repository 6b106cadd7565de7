"""Options sorted once by fitness, so that choosing among thousands costs what it does among few."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from math import inf
from random import Random

from brikk_shared.clock import Clock
from brikk_shared.selection.affinity import rendezvous
from brikk_shared.selection.contest import RAMP, Contest
from brikk_shared.selection.option import Option

LEAST_RAMP = 0.05
"""Share of its calls that a new agent begins with: with none it would never show what it can."""

_OVERPROVISIONING = 1.4
"""The own zone serves all calls as long as its fit agents, this many times over, would be all."""
_DRAWS = 4
"""Draws for each option wanted: some are refused, being drawn already, new or to be avoided."""
_KEYS_KEPT = 1000


class Lineup:
    """The options of a group as of one version of their contest.

    Args:
        zone: the caller's own; empty when it has none.
        turn: where a round begins.
    """

    __slots__ = (
        "_by_key",
        "_keyed",
        "_ramps",
        "contest",
        "cost_unit",
        "due",
        "far",
        "latency",
        "near",
        "near_share",
        "options",
        "panic",
        "rest",
        "stale_at",
        "turn",
        "version",
    )

    def __init__(
        self,
        options: tuple[Option, ...],
        contest: Contest,
        *,
        clock: Clock,
        zone: str,
        turn: int,
    ) -> None:
        now = clock.monotonic()
        ejected = contest.ejected()
        sound = [each for each in options if not each.suspect]
        suspect = [each for each in options if each.suspect]
        out = [each for each in sound if each.agent in ejected]
        fit = [each for each in sound if each.agent not in ejected] if out else sound
        self.panic = len(out) > len(fit)
        """Whether ejection is ignored."""
        if self.panic:
            # So many at once are not outliers: it may be the network, or the calls themselves.
            fit, out = sound, []
        self.options = options
        self.contest = contest
        self.version = contest.version
        self.turn = turn
        self.due = [each for each in out if ejected[each.agent] <= now]
        """Those ejected of whom one call may find out whether they are well again."""
        self.stale_at = min(
            (ejected[each.agent] for each in out if ejected[each.agent] > now), default=inf
        )
        """When another one is due, in the clock's seconds."""
        self.near = [each for each in fit if each.zone == zone] if zone else fit
        """Those fit for a call, of the caller's zone if it has one."""
        self.far = [each for each in fit if each.zone != zone] if zone else []
        """Those fit of other zones."""
        self.near_share = 1.0
        """Share of the calls that stays in the caller's zone: less when many there are unfit."""
        if self.near and self.far:
            all_near = sum(each.zone == zone for each in options)
            self.near_share = min(1.0, _OVERPROVISIONING * len(self.near) / all_near)
        self.rest = [
            each
            for each in (
                out,
                [each for each in suspect if each.agent not in ejected],
                [each for each in suspect if each.agent in ejected],
            )
            if each
        ]
        """Those for when nobody fit is there, better ones first."""
        costs = [each.cost_micros for each in options if each.cost_micros]
        self.cost_unit = sum(costs) / len(costs) if costs else 0.0
        """Mean declared price of those that declared one; 0 when none did."""
        self.latency = _usual_latency(options)
        """What is expected of an unknown option before any call told, in seconds."""
        self._ramps = _ramps(options, contest, clock)
        self._keyed = [[*self.due, *fit], *self.rest]
        self._by_key: dict[str, Option] = {}

    def holds(self, options: tuple[Option, ...], contest: Contest, now: float) -> bool:
        """Tells whether nothing changed since."""
        return (
            self.options is options
            and self.contest is contest
            and self.version == contest.version
            and now < self.stale_at
        )

    def bound(self, key: str, avoid: Collection[str]) -> Option | None:
        """Returns the option that calls with an affinity key go to; it may be one that is due."""
        if not avoid and key in self._by_key:
            return self._by_key[key]
        for pool in self._keyed:
            allowed = [each for each in pool if each.agent not in avoid] if avoid else pool
            if allowed:
                option = rendezvous(key, allowed)
                break
        else:
            return None
        if not avoid:
            if len(self._by_key) >= _KEYS_KEPT:
                del self._by_key[next(iter(self._by_key))]
            self._by_key[key] = option
        return option

    def draw(
        self,
        pool: Sequence[Option],
        count: int,
        *,
        avoid: Collection[str],
        now: float,
        random: Random,
    ) -> list[Option]:
        """Draws different options in random order, none to be avoided, new ones less often.

        Fewer than `count` when there are not as many, or when chance refused them.
        """
        size = len(pool)
        uniform = random.random
        if size <= count:
            start = int(uniform() * size)
            indexes: Iterable[int] = (*range(start, size), *range(start))
        else:
            indexes = (int(uniform() * size) for _ in range(_DRAWS * count))
        seen: list[int] = []
        drawn: list[Option] = []
        refused: list[Option] = []
        for index in indexes:
            if index in seen:
                continue
            seen.append(index)
            option = pool[index]
            if option.agent in avoid:
                continue
            if self._ramps and uniform() >= self._share(option.agent, now):
                refused.append(option)
                continue
            drawn.append(option)
            if len(drawn) == count:
                break
        return drawn or refused[:1] or [each for each in pool if each.agent not in avoid][:count]

    def take_turn(
        self, pool: Sequence[Option], *, avoid: Collection[str], now: float, random: Random
    ) -> Option | None:
        """Returns the next option of a round, new ones not in every round; None to avoid all."""
        refused: Option | None = None
        for _ in pool:
            self.turn += 1
            option = pool[self.turn % len(pool)]
            if option.agent in avoid:
                continue
            if not self._ramps or random.random() < self._share(option.agent, now):
                return option
            refused = refused or option
        return refused

    def _share(self, agent: str, now: float) -> float:
        start = self._ramps.get(agent)
        return 1.0 if start is None else max(LEAST_RAMP, (now - start) / RAMP)


def _ramps(options: Sequence[Option], contest: Contest, clock: Clock) -> dict[str, float]:
    """Returns since when those agents work that have not yet grown to their full share."""
    now = clock.monotonic()
    today = clock.now()
    ramp = timedelta(seconds=RAMP)
    ramps = {
        # The registry's clock may be ahead of ours.
        each.agent: now - max(0.0, (today - each.register_time).total_seconds())
        for each in options
        if each.register_time is not None and today - each.register_time < ramp
    }
    for agent, time in contest.returned().items():
        if now < time + RAMP:
            ramps[agent] = max(time, ramps.get(agent, time))
    return ramps


def _usual_latency(options: Sequence[Option]) -> float:
    """Returns the mean of what options declared or others observed; a second when none did."""
    latencies = [
        (each.observation and each.observation.latency) or each.latency for each in options
    ]
    seconds = [each.total_seconds() for each in latencies if each is not None]
    return sum(seconds) / len(seconds) if seconds else 1.0
