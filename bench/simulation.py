"""Agents whose health is hidden from their callers, as discrete events on a clock of their own."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import count
from random import Random
from typing import Protocol

from brikk_shared.selection import Observation, Option
from brikk_shared.testing import ManualClock

AGENTS = 12
CAPACITY = 4
"""Calls that an agent works on at once; more wait in its queue."""
UTILISATION = 0.5
"""Of all agents while they are well."""
TIMEOUT = 10.0
"""Seconds after which a caller gives a call up: it failed."""
END = 600.0
WORSE_AT, BETTER_AT = 150.0, 350.0
"""Seconds between which one agent is ill. Another one is ill from the beginning to `BETTER_AT`."""

_BEAT = 10.0
"""Seconds between the loads that agents tell the registry."""
_REPORT = 1.0
"""Seconds between reports of outcomes to the registry, and between what it tells of them."""
_HALF_LIFE = 60.0
"""Of outcomes in the registry."""
_SPREAD = 0.5
"""Sigma of the log of the time of a call."""
_LOOK = 10.0
"""Seconds of traffic that tell whether an agent was left, or is back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Illness:
    """How an agent gets worse."""

    name: str
    success_rate: float
    slower: float
    """Factor on the time of its calls."""


class Chooser(Protocol):
    """How a caller chooses."""

    def choose(self, options: tuple[Option, ...]) -> str:
        """Returns the agent to call."""

    def begin(self, agent: str) -> None:
        """Notes that a call to it begins."""

    def end(self, agent: str, *, succeeded: bool, seconds: float) -> None:
        """Notes what became of it."""


@dataclass(kw_only=True, slots=True, eq=False)
class _Agent:
    name: str
    success_rate: float
    seconds: float
    """Median time of a call, waiting not counted."""
    illness: Illness | None = None
    working: int = 0
    waiting: deque[_Call]

    def draw(self, random: Random) -> tuple[bool, float]:
        """Returns what becomes of a call, and how long it takes."""
        seconds = self.seconds * math.exp(random.gauss(0.0, _SPREAD))
        if self.illness is None:
            return random.random() < self.success_rate, seconds
        return random.random() < self.illness.success_rate, seconds * self.illness.slower


@dataclass(kw_only=True, slots=True, eq=False)
class _Call:
    caller: Chooser
    agent: _Agent
    begin: float
    over: bool = False
    """Whether its caller knows the end, or gave up."""


class _Outcomes:
    """What the registry knows of an agent from callers' reports."""

    def __init__(self) -> None:
        self.calls = self.successes = self.seconds = 0.0

    def add(self, *, succeeded: bool, seconds: float) -> None:
        self.calls += 1.0
        self.successes += succeeded
        self.seconds += seconds

    def fade(self, elapsed: float) -> None:
        kept = 0.5 ** (elapsed / _HALF_LIFE)
        self.calls *= kept
        self.successes *= kept
        self.seconds *= kept


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What callers experienced in one run."""

    calls: int
    successes: int
    latencies_ms: Sequence[float]
    """Of the calls that succeeded or timed out: failing at once is no speed."""
    ill_share: float
    """Share of the calls that went to an ill agent, while there was one."""
    calls_to_leave: int | None
    """Calls to the agent that fell ill until callers left it; None when they never did."""
    seconds_to_leave: float | None
    calls_to_return: int | None
    """Calls to it from its recovery until it had half its former share again; None if never."""
    seconds_to_return: float | None


class Simulation:
    """One run.

    Args:
        choosers: the callers, each with its part of the calls.
        shares: whether callers report outcomes, and hear from the registry what others reported.
        seed: of everything hidden; the same for every policy.
    """

    def __init__(
        self,
        choosers: Callable[[ManualClock], Sequence[Chooser]],
        *,
        illness: Illness,
        shares: bool,
        seed: int,
    ) -> None:
        self._clock = ManualClock()
        self._choosers = choosers(self._clock)
        self._illness = illness
        self._shares = shares
        self._random = Random(seed)  # noqa: S311 - chance, no secret
        self._now = 0.0
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._agents = {
            name: _Agent(
                name=name,
                success_rate=self._random.uniform(0.75, 0.99),
                seconds=self._random.uniform(0.2, 0.8),
                waiting=deque(),
            )
            for name in (f"agents/a{number}" for number in range(AGENTS))
        }
        mean = math.exp(_SPREAD**2 / 2)
        self._rate = UTILISATION * sum(
            CAPACITY / (each.seconds * mean) for each in self._agents.values()
        )
        self._outcomes = {name: _Outcomes() for name in self._agents}
        self._options = tuple(
            Option(agent=name, endpoint="127.0.0.1:1", capacity=CAPACITY) for name in self._agents
        )
        self._sent: dict[str, list[float]] = {name: [] for name in self._agents}
        self._all_sent: list[float] = []
        self._latencies: list[float] = []
        self._successes = 0
        self._ended = 0

    def run(self) -> Result:
        """Runs to the end and tells what happened."""
        worsening, recovering = list(self._agents.values())[:2]
        self._turn(recovering, self._illness)
        self._at(WORSE_AT, partial(self._turn, worsening, self._illness))
        for each in (worsening, recovering):
            self._at(BETTER_AT, partial(self._turn, each, None))
        self._at(_BEAT, self._beat)
        if self._shares:
            self._at(_REPORT, self._share)
        self._arrive()
        while self._events:
            time, _, event = heapq.heappop(self._events)
            self._clock.advance(timedelta(seconds=time - self._now))
            self._now = time
            event()
        return self._result(worsening.name, recovering.name)

    def _at(self, time: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), event))

    def _turn(self, agent: _Agent, illness: Illness | None) -> None:
        agent.illness = illness

    def _beat(self) -> None:
        self._options = tuple(
            replace(each, in_flight=agent.working + len(agent.waiting))
            for each, agent in zip(self._options, self._agents.values(), strict=True)
        )
        if self._now < END:
            self._at(self._now + _BEAT, self._beat)

    def _share(self) -> None:
        options = []
        for option in self._options:
            outcomes = self._outcomes[option.agent]
            outcomes.fade(_REPORT)
            if outcomes.calls > 0.0:
                observation = Observation(
                    calls=outcomes.calls,
                    success_rate=outcomes.successes / outcomes.calls,
                    latency=timedelta(seconds=outcomes.seconds / outcomes.calls),
                    receive_time=self._clock.monotonic(),
                )
                options.append(replace(option, observation=observation))
            else:
                options.append(option)
        self._options = tuple(options)
        if self._now < END:
            self._at(self._now + _REPORT, self._share)

    def _arrive(self) -> None:
        caller = self._random.choice(self._choosers)
        agent = self._agents[caller.choose(self._options)]
        caller.begin(agent.name)
        self._sent[agent.name].append(self._now)
        self._all_sent.append(self._now)
        call = _Call(caller=caller, agent=agent, begin=self._now)
        self._at(self._now + TIMEOUT, partial(self._finish, call, succeeded=False))
        agent.waiting.append(call)
        self._work(agent)
        following = self._now + self._random.expovariate(self._rate)
        if following < END:
            self._at(following, self._arrive)

    def _work(self, agent: _Agent) -> None:
        while agent.waiting and agent.working < CAPACITY:
            call = agent.waiting.popleft()
            if not call.over:
                agent.working += 1
                succeeded, seconds = agent.draw(self._random)
                self._at(self._now + seconds, partial(self._answer, call, succeeded))

    def _answer(self, call: _Call, succeeded: bool) -> None:
        self._finish(call, succeeded=succeeded)
        call.agent.working -= 1
        self._work(call.agent)

    def _finish(self, call: _Call, *, succeeded: bool) -> None:
        if call.over:
            return
        call.over = True
        seconds = self._now - call.begin
        call.caller.end(call.agent.name, succeeded=succeeded, seconds=seconds)
        self._outcomes[call.agent.name].add(succeeded=succeeded, seconds=seconds)
        self._ended += 1
        self._successes += succeeded
        if succeeded or seconds >= TIMEOUT:
            self._latencies.append(seconds * 1000)

    def _result(self, worsening: str, recovering: str) -> Result:
        usual = self._share_of(worsening, WORSE_AT - 100.0, WORSE_AT)
        left = self._first(worsening, WORSE_AT, BETTER_AT, lambda share: share < usual / 4)
        back = self._first(worsening, BETTER_AT, END, lambda share: share >= usual / 2)
        to_ill = self._count(recovering, 0.0, BETTER_AT) + self._count(
            worsening, WORSE_AT, BETTER_AT
        )
        return Result(
            calls=self._ended,
            successes=self._successes,
            latencies_ms=self._latencies,
            ill_share=to_ill / bisect_left(self._all_sent, BETTER_AT),
            calls_to_leave=None if left is None else self._count(worsening, WORSE_AT, left),
            seconds_to_leave=None if left is None else left - WORSE_AT,
            calls_to_return=None if back is None else self._count(worsening, BETTER_AT, back),
            seconds_to_return=None if back is None else back - BETTER_AT,
        )

    def _first(
        self, agent: str, begin: float, end: float, holds: Callable[[float], bool]
    ) -> float | None:
        """Returns the first second from which on an agent's share of the next calls is as asked."""
        time = begin
        while time + _LOOK <= end:
            if holds(self._share_of(agent, time, time + _LOOK)):
                return time
            time += 1.0
        return None

    def _count(self, agent: str, begin: float, end: float) -> int:
        sent = self._sent[agent]
        return bisect_left(sent, end) - bisect_left(sent, begin)

    def _share_of(self, agent: str, begin: float, end: float) -> float:
        every = bisect_left(self._all_sent, end) - bisect_left(self._all_sent, begin)
        return self._count(agent, begin, end) / every
