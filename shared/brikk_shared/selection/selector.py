"""Chooses which agent a call goes to, and learns from what became of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import NamedTuple

from brikk_shared.clock import Clock
from brikk_shared.selection.contest import Contest
from brikk_shared.selection.experience import Experience, known, promise
from brikk_shared.selection.lineup import Lineup
from brikk_shared.selection.option import Group, Option, Policy
from brikk_shared.selection.outcomes import Outcomes, OutcomeSum

EXPLORED = 0.015
"""Share of calls that goes to the least known of some options, so that none is given up."""
EXPERIENCES_KEPT = 100_000
"""Agents by capability; past that, the one not called for longest is forgotten."""
CAPABILITIES_KEPT = 10_000
"""Past that, the oldest is forgotten."""

_CHOICES = 3
"""Options drawn of which the best is taken: the best of all would be crowded by all callers."""
_WIDE_CHOICES = 8
"""Likewise where only one figure of each is compared."""
_HEARSAY = 0.25
"""Share of others' calls that counts: a heartbeat's word is old, and all callers heard the same."""


class _Question(NamedTuple):
    group: Group
    lineup: Lineup
    policy: Policy
    avoid: Collection[str]
    now: float


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
        self._in_flight: dict[tuple[str, str], int] = {}
        self._experiences: dict[tuple[str, str, str], Experience] = {}
        self._contests: dict[tuple[str, str], Contest] = {}
        self._lineups: dict[Group, Lineup] = {}
        self._outcomes = Outcomes()

    def choose(
        self,
        group: Group,
        options: tuple[Option, ...],
        *,
        policy: Policy = Policy.BEST,
        avoid: Collection[str] = (),
        affinity: str = "",
    ) -> Option | None:
        """Returns the option to call, or None when there are none.

        Pass the same tuple while nothing changed: it is then sorted once, not at each call.

        Args:
            avoid: agents to be taken only when nobody else is there, for instance because they just
                failed.
            affinity: calls with the same key go to the same agent while it is fit, whatever the
                policy and the zone.
        """
        if not options:
            return None
        now = self._clock.monotonic()
        lineup = self._line_up(group, options, now)
        option: Option | None
        if affinity:
            option = lineup.bound(affinity, avoid)
            if option is not None and option in lineup.due:
                lineup.contest.try_again(option.agent, now)
        else:
            for option in lineup.due:
                if option.agent not in avoid:
                    lineup.contest.try_again(option.agent, now)
                    return option
            question = _Question(group, lineup, policy, avoid, now)
            option = self._pick_fit(question)
            for pool in lineup.rest:
                option = option or self._pick(question, pool)
        if option is None:
            # Everybody is to be avoided.
            return self.choose(group, options, policy=policy, affinity=affinity)
        return option

    @contextmanager
    def calling(self, organization: str, agent: str) -> Iterator[None]:
        """Counts a call as in flight while the block runs."""
        self.begin(organization, agent)
        try:
            yield
        finally:
            self.end(organization, agent)

    def begin(self, organization: str, agent: str) -> None:
        """Counts a call as in flight until `end`."""
        key = (organization, agent)
        self._in_flight[key] = self._in_flight.get(key, 0) + 1

    def end(self, organization: str, agent: str) -> None:
        """Counts a call that began no longer."""
        key = (organization, agent)
        left = self._in_flight[key] - 1
        if left:
            self._in_flight[key] = left
        else:
            del self._in_flight[key]

    def in_flight(self, organization: str, option: Option) -> int:
        """Return the calls in flight at an option: ours, or those it told of if they are more."""
        return max(self._in_flight.get((organization, option.agent), 0), option.in_flight)

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
        now = self._clock.monotonic()
        seconds = latency.total_seconds()
        experience = self._experience(organization, capability, agent, now)
        experience.learn(now, succeeded=succeeded, seconds=seconds, quality=quality)
        contest = self._contest(organization, capability)
        contest.judge(agent, experience, now, succeeded=succeeded, seconds=seconds)
        self._outcomes.add(
            organization,
            agent,
            capability,
            succeeded=succeeded,
            seconds=seconds,
            quality=quality,
        )

    def take_outcomes(self, limit: int = 500) -> list[OutcomeSum]:
        """Hands over what was learned since the last report: at most `limit` sums, each once.

        All are of one organisation, as a report speaks for one; empty when nothing is left.
        """
        return self._outcomes.take(limit)

    def _experience(self, organization: str, capability: str, agent: str, now: float) -> Experience:
        # Taken out and put back, so that those called last are at the end.
        key = (organization, capability, agent)
        experience = self._experiences.pop(key, None) or Experience(now)
        self._experiences[key] = experience
        if len(self._experiences) > EXPERIENCES_KEPT:
            del self._experiences[next(iter(self._experiences))]
        return experience

    def _contest(self, organization: str, capability: str) -> Contest:
        key = (organization, capability)
        contest = self._contests.get(key)
        if contest is None:
            contest = self._contests[key] = Contest()
            if len(self._contests) > CAPABILITIES_KEPT:
                del self._contests[next(iter(self._contests))]
        return contest

    def _line_up(self, group: Group, options: tuple[Option, ...], now: float) -> Lineup:
        contest = self._contest(group.organization, group.capability)
        lineup = self._lineups.get(group)
        if lineup is not None and lineup.holds(options, contest, now):
            return lineup
        turn = self._random.randrange(len(options)) if lineup is None else lineup.turn
        lineup = self._lineups[group] = Lineup(
            options, contest, clock=self._clock, zone=self._zone, turn=turn
        )
        contest.panic = lineup.panic
        if len(self._lineups) > CAPABILITIES_KEPT:
            del self._lineups[next(iter(self._lineups))]
        return lineup

    def _pick_fit(self, question: _Question) -> Option | None:
        lineup = question.lineup
        first, second = lineup.near, lineup.far
        if lineup.near_share < 1.0 and self._random.random() >= lineup.near_share:
            first, second = second, first
        option = self._pick(question, first)
        if second and (option is None or self._is_full(question, option)):
            other = self._pick(question, second)
            if option is None or (other is not None and not self._is_full(question, other)):
                option = other
        return option

    def _pick(self, question: _Question, pool: Sequence[Option]) -> Option | None:
        if not pool:
            return None
        _, lineup, policy, avoid, now = question
        random = self._random
        if policy is Policy.ROUND_ROBIN:
            return lineup.take_turn(pool, avoid=avoid, now=now, random=random)
        if policy is Policy.RANDOM:
            drawn = lineup.draw(pool, 1, avoid=avoid, now=now, random=random)
            return drawn[0] if drawn else None
        explores = policy is Policy.BEST and random.random() < EXPLORED
        wide = explores or policy is Policy.LEAST_IN_FLIGHT
        drawn = lineup.draw(
            pool, _WIDE_CHOICES if wide else _CHOICES, avoid=avoid, now=now, random=random
        )
        if len(drawn) < 2:
            return drawn[0] if drawn else None
        if explores:
            return self._least_known(question, drawn)
        if policy is Policy.LEAST_IN_FLIGHT:
            return min(drawn, key=lambda each: self._load(question, each))
        return self._best(question, drawn)

    def _best(self, question: _Question, options: Sequence[Option]) -> Option:
        (organization, capability, _), lineup, _, _, now = question
        rate = lineup.contest.success_rate
        latency = lineup.contest.latency or lineup.latency
        best, greatest = options[0], -1.0
        for option in options:
            experience = self._experiences.get((organization, capability, option.agent))
            score = promise(option, experience, now, success_rate=rate, latency=latency)
            score /= self._load(question, option)
            if option.cost_micros:
                score /= (1.0 + option.cost_micros / lineup.cost_unit) ** self._cost_weight
            if score > greatest:
                best, greatest = option, score
        return best

    def _least_known(self, question: _Question, options: Sequence[Option]) -> Option:
        organization, capability, _ = question.group
        return min(
            options,
            key=lambda each: (
                self._is_full(question, each),
                known(
                    each,
                    self._experiences.get((organization, capability, each.agent)),
                    question.now,
                ),
            ),
        )

    def _load(self, question: _Question, option: Option) -> float:
        """Returns how full the option would be with one call more; 1 is just full."""
        calls: float = self._in_flight.get((question.group.organization, option.agent), 0)
        if option.in_flight > calls:
            calls += (option.in_flight - calls) * _HEARSAY
        return (calls + 1.0) / (option.capacity or 1)

    def _is_full(self, question: _Question, option: Option) -> bool:
        return self.in_flight(question.group.organization, option) >= (option.capacity or 1)
